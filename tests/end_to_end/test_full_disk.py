"""A state on a disk that is full, or that can only be read: a real file system for each."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from gateway.emulator import EmulatorServer
from gateway.ledger.tables.verify import verify
from gateway.settings import load
from tests.api.admin.api_client import in_force
from tests.end_to_end.test_replaced_state import check_refused, degraded, says
from tests.support.exposition import scrape, total
from tests.support.serving import (
    GatewayProcess,
    in_state,
    make_key,
    serving,
    settings_for,
    tables_of,
)


def mount(*arguments: str | Path) -> bool:
    return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mount("-t", "tmpfs", "-o", "size=8m", "gateway-test", folder):
        pytest.skip("mounting a file system needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    ballast = disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    yield
    ballast.unlink()


def test_on_a_full_disk_nothing_is_bought_and_what_is_in_flight_is_booked_later(
    disk: Path, tmp_path: Path, emulator: EmulatorServer
) -> None:
    settings = settings_for(tmp_path, emulator, {"state": {"url": f"sqlite:{disk / 'state.db'}"}})
    make_key(settings)
    with serving(settings) as gateway, ThreadPoolExecutor() as pool:
        assert gateway.edit("bought before").status_code == 200
        emulator.order({"latency_seconds": 1.0})
        edit = pool.submit(gateway.edit, "in flight")
        in_force(lambda: emulator.stats()["in_flight"] == 1, seconds=5)
        with filled(disk):
            assert edit.result().status_code == 200
            in_force(lambda: says(gateway, "its disk is full"), seconds=10)
            check_refused(gateway, "its disk is full")
            assert total(scrape(gateway), "gateway_state_up") == 0
            assert emulator.stats()["calls"] == 2
        emulator.order({"latency_seconds": 0.0})
        in_force(lambda: not degraded(gateway), seconds=10)
        in_force(lambda: not gateway.app.parts.budgets.service.unwritten, seconds=10)
        assert gateway.edit("new").status_code == 200
    proven = in_state(settings, verify)
    assert (proven.differences, proven.ledger_rows, proven.held_nanos) == ((), 3, 0)
    assert proven.spent_nanos == emulator.stats()["billed_nanos"]


def test_a_start_on_a_read_only_disk_is_one_line(
    disk: Path, tmp_path: Path, emulator: EmulatorServer
) -> None:
    tables = tables_of(tmp_path, emulator, {"state": {"url": f"sqlite:{disk / 'state.db'}"}})
    make_key(load(environment={}, overrides=tables))
    assert mount("-o", "remount,ro", disk)
    with pytest.raises(RuntimeError) as start:
        GatewayProcess(tables, tmp_path / "process")
    assert str(start.value).count("its folder is read-only") == 1
    assert "Traceback" not in str(start.value)
