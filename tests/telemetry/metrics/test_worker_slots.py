"""The metrics of several workers: one sum, whoever is asked, whatever becomes of a worker."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path

import httpx
import pytest

from gateway.emulator import EmulatorServer
from gateway.telemetry.metrics import shared_folder
from tests.support.exposition import scrape, total
from tests.support.serving import GatewayProcess, Overrides, make_key, settings_for, tables_of
from tests.support.waiting import until

WORKER = """
import os, sys
from gateway.telemetry.metrics import Metrics, families, take_worker_slot
slot = take_worker_slot(sys.argv[1])
metrics = Metrics("0", slot)
metrics.counter(families.REQUESTS).labels("edits", "m", sys.argv[2], "hit").inc()
metrics.gauge(families.FLIGHTS).set(1)
metrics.gauge(families.STATE_UP).set(int(sys.argv[3]))
metrics.histogram(families.REQUEST_SECONDS).labels("edits", "hit").observe(0.2)
body, _ = metrics.exposition()
print(slot.number, flush=True)
if sys.stdin.read() == "show":
    print(metrics.exposition()[0].decode(), flush=True)
os._exit(1)  # as abruptly as by a kill
"""


class Worker:
    """A process that has a slot, counts one request and one flight, and then waits."""

    def __init__(self, folder: str, team: str = "design", state_up: int = 1) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, folder, team, str(state_up)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def slot(self) -> int:
        assert self.process.stdout
        return int(self.process.stdout.readline())

    def end(self, say: str = "") -> str:
        """Let it die; gives what it showed before, if it was to show."""
        shown, _ = self.process.communicate(say, timeout=60)
        return shown


def test_a_worker_goes_on_counting_where_a_dead_one_stopped() -> None:
    with shared_folder(2) as folder:
        for _ in range(3):
            worker = Worker(folder)
            assert worker.slot() == 0
            worker.end()
        files = sorted(file.name for file in Path(folder).iterdir())
        last = Worker(folder)
        last.slot()
        shown = last.end("show")

        assert total(shown, "gateway_requests_total") == 4
        assert total(shown, "gateway_request_seconds_count") == 4
        assert total(shown, "gateway_flights") == 1, "what the dead had in hand went with them"
        assert sorted(file.name for file in Path(folder).iterdir()) == files


def test_workers_that_come_at_once_sit_apart_and_any_tells_of_all() -> None:
    with shared_folder(4) as folder:
        workers = [Worker(folder, state_up=int(number != 1)) for number in range(4)]
        assert sorted(worker.slot() for worker in workers) == [0, 1, 2, 3]
        shown = workers[0].end("show")
        assert total(shown, "gateway_requests_total") == 4
        assert total(shown, "gateway_flights") == 4
        assert total(shown, "gateway_state_up") == 0, "one that can't read the state is seen"
        assert total(shown, "gateway_build_info") == 1

        workers[1].end()
        shown = workers[2].end("show")
        assert total(shown, "gateway_requests_total") == 4, "what the dead counted stays"
        assert total(shown, "gateway_flights") == 2
        assert total(shown, "gateway_state_up") == 1
        workers[3].end()


def test_a_worker_tells_those_names_apart_that_stand_in_the_folder() -> None:
    """Else the names of a thousand workers, one after the other, would all have series."""
    with shared_folder(2) as folder:
        for start in range(0, 250, 125):
            script = (
                "import os, sys\nfrom gateway.telemetry.metrics import Metrics, take_worker_slot\n"
                "metrics = Metrics('0', take_worker_slot(sys.argv[1]), max_teams=200)\n"
                f"for n in range({start}, {start + 125}):\n"
                "    metrics.record_overrun(team=f't{n}', model='m')\n"
                "print(metrics.exposition()[0].decode())\nos._exit(1)"
            )
            done = subprocess.run(
                [sys.executable, "-c", script, folder], capture_output=True, text=True, timeout=60
            )
            shown = done.stdout
        overruns = [line for line in shown.splitlines() if line.startswith("gateway_overruns_t")]

    assert len(overruns) == 201
    assert total(shown, "gateway_overruns_total") == 250
    assert total(shown, "gateway_overruns_total", team="other") == 50


def test_what_somebody_laid_beside_the_folders_holds_no_start_up_and_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    trap = tmp_path / "gateway-metrics-trap"
    trap.mkdir()
    os.mkfifo(trap / "parent.lock")  # whoever opens it waits for ever
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "parent.lock").touch()
    (tmp_path / "gateway-metrics-link").symlink_to(elsewhere)
    with shared_folder(2) as used:
        assert Path(used).exists()
    assert (trap / "parent.lock").exists()
    assert (elsewhere / "parent.lock").exists()


def test_a_folder_that_a_killed_gateway_left_is_swept_and_one_in_use_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left = tmp_path / "gateway-metrics-left"
    left.mkdir()
    (left / "parent.lock").touch()
    with shared_folder(2) as used:
        assert not left.exists()
        with shared_folder(2) as other:
            assert Path(used).exists()
            assert Path(other).stat().st_mode & 0o777 == 0o700
        assert not Path(other).exists()
    assert list(tmp_path.iterdir()) == []


# --- over real sockets --------------------------------------------------------------------


def workers_of(gateway: GatewayProcess) -> list[int]:
    """The processes that serve: children of the parent which listen themselves."""
    pid = gateway.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in _command(int(child))]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""


def halted(pid: int, state: Path) -> bool:
    """Stop a process, unless it is writing to the state just now: it would keep the lock."""
    os.kill(pid, signal.SIGSTOP)
    with closing(sqlite3.connect(state, timeout=0.1, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            os.kill(pid, signal.SIGCONT)
            return False
    return True


@contextmanager
def alone(gateway: GatewayProcess, pid: int, state: Path) -> Iterator[None]:
    """Only this worker runs: it answers everything that comes."""
    others = [other for other in workers_of(gateway) if other != pid]
    for other in others:
        until(partial(halted, other, state))
    try:
        yield
    finally:
        for other in others:
            os.kill(other, signal.SIGCONT)


@pytest.fixture
def tables(tmp_path: Path, emulator: EmulatorServer) -> Overrides:
    tables = tables_of(tmp_path, emulator, {"server": {"workers": 2}})
    make_key(settings_for(tmp_path, emulator))
    return tables


@contextmanager
def rising(gateway: GatewayProcess) -> Iterator[None]:
    """Scrape all the while: no sum is ever lower than the one before it."""
    done, sums = threading.Event(), [0.0]

    def watch() -> None:
        while not done.wait(0.1):
            with suppress(httpx.TransportError):  # of the worker that was killed
                sums.append(total(scrape(gateway), "gateway_requests_total"))

    with ThreadPoolExecutor() as pool:
        watching = pool.submit(watch)
        try:
            yield
        finally:
            done.set()
        watching.result(60)
    assert len(sums) > 1
    assert sums == sorted(sums)


def replaced(gateway: GatewayProcess, victim: int) -> None:
    """Wait until another worker is there in this one's place; it may still be starting."""
    until(lambda: victim not in workers_of(gateway) and len(workers_of(gateway)) == 2, 30.0)


def test_every_worker_answers_for_all_and_killing_one_loses_nothing(
    tables: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with GatewayProcess(tables, tmp_path) as gateway:
        until(lambda: len(list(tmp_path.glob("gateway-metrics-*/counter_*.db"))) == 2, 30.0)
        made = 0
        first, second = workers_of(gateway)
        for pid in (first, second, first):
            with alone(gateway, pid, tmp_path / "gateway.db"):
                for _ in range(5):
                    assert gateway.edit(f"edit {made % 6}").status_code == 200
                    made += 1
                assert total(scrape(gateway, after=made), "gateway_requests_total") == made
        before = scrape(gateway)

        with rising(gateway):
            for victim in (first, second):
                os.kill(victim, signal.SIGKILL)
                assert gateway.edit("edit 0").status_code == 200
                made += 1
                assert total(scrape(gateway, after=made), "gateway_requests_total") == made
                replaced(gateway, victim)
        after = scrape(gateway)
        folder = next(tmp_path.glob("gateway-metrics-*"))
        files = {file.name for file in folder.glob("*.db")}
        status = gateway.stop()

    assert total(after, "gateway_requests_total") == made
    assert total(after, "gateway_cost_dollars_total") == total(before, "gateway_cost_dollars_total")
    assert {name.rpartition("_")[2] for name in files} == {"0.db", "1.db"}
    assert status == 0
    assert not folder.exists()
