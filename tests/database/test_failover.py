"""A primary that is lost, and the standby that takes its place, under gateways that go on."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.emulator import EmulatorServer
from gateway.ledger.tables.verify import verify
from tests.project.test_readme import free_port
from tests.support.postgres_servers import PostgresServer, postgres_folder
from tests.support.serving import GatewayProcess, in_state, make_key, settings_for, tables_of
from tests.support.waiting import until


@contextmanager
def primary_and_standby() -> Iterator[tuple[PostgresServer, PostgresServer]]:
    """Two servers; a commit is answered once both have it."""
    with postgres_folder() as folder:
        primary, standby = (
            PostgresServer(folder / name, "127.0.0.1", free_port()) for name in ("one", "two")
        )
        try:
            primary.make()
            primary.start()
            standby.make_standby_of(primary)
            standby.start()
            primary.confirm_by_standby()
            yield primary, standby
        finally:
            primary.kill()
            standby.kill()


@pytest.mark.parametrize(
    ("befallen", "most_seconds"),
    [
        (signal.SIGKILL, 10),
        # A frozen server is one that answers late, until a command's time-out of 30 seconds.
        pytest.param(signal.SIGSTOP, 45, marks=pytest.mark.long),
    ],
)
def test_a_failover_needs_no_restart_and_loses_no_booking(
    tmp_path: Path, emulator: EmulatorServer, befallen: signal.Signals, most_seconds: float
) -> None:
    with primary_and_standby() as (primary, standby):
        hosts = f"{standby.host}:{standby.port},{primary.host}:{primary.port}"
        url = f"postgresql://postgres@{hosts}/postgres?target_session_attrs=read-write"
        more = {"state": {"url": url}}
        settings = settings_for(tmp_path, emulator, more)
        make_key(settings)
        with (
            GatewayProcess(tables_of(tmp_path, emulator, more), tmp_path) as gateway,
            ThreadPoolExecutor() as pool,
        ):
            before = [gateway.edit(f"before {number}") for number in range(3)]
            emulator.order(always={"latency_seconds": 1.0})
            in_flight = [pool.submit(gateway.edit, f"in flight {number}") for number in range(3)]
            until(lambda: emulator.stats()["in_flight"] == 3)
            primary.signal(befallen)
            emulator.order(always={"latency_seconds": 0.0})
            hit = gateway.edit("before 0")
            standby.promote()
            promoted = time.monotonic()
            until(lambda: gateway.edit("after").status_code == 200, most_seconds)
            seconds = time.monotonic() - promoted
            statuses = [edit.result().status_code for edit in in_flight]
            with gateway.client(key=None) as client:
                until(lambda: client.get("/readyz").json()["degraded"] == [])
            assert gateway.process.poll() is None
        proven = in_state(settings, verify)

    assert [answer.status_code for answer in (*before, hit)] == [200] * 4
    assert statuses == [200] * 3
    assert seconds < most_seconds
    assert (proven.differences, proven.ledger_rows, proven.held_nanos) == ((), 7, 0)
    assert proven.spent_nanos == emulator.stats()["billed_nanos"]
