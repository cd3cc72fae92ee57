"""SQLite's file deleted, replaced or damaged while a gateway serves, and writes that fail."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from gateway.emulator import EmulatorServer
from gateway.ledger.tables.verify import verify
from tests.api.admin.api_client import in_force
from tests.support.exposition import scrape, total
from tests.support.serving import Running, in_state, make_key, serving, settings_for


@pytest.fixture
def gateway(tmp_path: Path, emulator: EmulatorServer) -> Iterator[Running]:
    settings = settings_for(tmp_path, emulator)
    make_key(settings)
    with serving(settings) as gateway:
        assert gateway.edit("bought before").status_code == 200
        yield gateway


def degraded(gateway: Running) -> list[str]:
    with gateway.client(key=None) as client:
        found: list[str] = client.get("/readyz").json()["degraded"]
    return found


def says(gateway: Running, reason: str) -> bool:
    return any(line.startswith("state: ") and reason in line for line in degraded(gateway))


def state_of(gateway: Running) -> Path:
    file = gateway.settings.state.sqlite_file
    assert file
    return file


def back_up(file: Path, copy: Path) -> None:
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
        target.execute("PRAGMA journal_mode = DELETE")


def remove(file: Path) -> None:
    for path in (file, Path(f"{file}-wal"), Path(f"{file}-shm")):
        path.unlink(missing_ok=True)


def check_refused(gateway: Running, reason: str) -> None:
    refused, hit = gateway.edit("new"), gateway.edit("bought before")
    assert refused.json()["error"]["code"] == "state_unavailable"
    assert reason in refused.json()["error"]["message"]
    assert hit.headers["x-gateway-cache"] == "HIT"


def test_what_is_settled_while_the_file_is_gone_is_booked_in_the_restored_backup(
    gateway: Running, emulator: EmulatorServer, tmp_path: Path
) -> None:
    file, backup = state_of(gateway), tmp_path / "backup.db"
    back_up(file, backup)
    emulator.order({"latency_seconds": 1.0})
    with ThreadPoolExecutor() as pool:
        edit = pool.submit(gateway.edit, "in flight")
        in_force(lambda: emulator.stats()["in_flight"] == 1, seconds=5)
        remove(file)
        in_force(lambda: says(gateway, "its file was deleted"), seconds=1)
        assert edit.result().status_code == 200
    emulator.order({"latency_seconds": 0.0})
    check_refused(gateway, "its file was deleted")
    assert not file.exists()
    os.replace(backup, file)
    in_force(lambda: not gateway.app.parts.budgets.service.unwritten, seconds=10)
    in_force(lambda: not degraded(gateway), seconds=10)
    assert gateway.edit("new").status_code == 200

    proven = in_state(gateway.settings, verify)
    assert (proven.differences, proven.ledger_rows, proven.held_nanos) == ((), 3, 0)
    assert proven.spent_nanos == emulator.stats()["billed_nanos"]


def test_a_file_put_in_its_place_is_not_mixed_with_the_old_log(
    gateway: Running, emulator: EmulatorServer, tmp_path: Path
) -> None:
    file, backup = state_of(gateway), tmp_path / "backup.db"
    back_up(file, backup)
    kept = backup.read_bytes()
    os.replace(backup, file)
    in_force(lambda: says(gateway, "its file was replaced"), seconds=1)
    check_refused(gateway, "its file was replaced")

    assert file.read_bytes() == kept
    for end in ("-wal", "-shm"):
        Path(f"{file}{end}").unlink()
    in_force(lambda: not degraded(gateway), seconds=10)
    assert gateway.edit("new").status_code == 200


def test_a_file_overwritten_with_something_else_buys_nothing(
    gateway: Running, emulator: EmulatorServer, tmp_path: Path
) -> None:
    file, backup = state_of(gateway), tmp_path / "backup.db"
    back_up(file, backup)
    size = file.stat().st_size
    with file.open("r+b") as damaged:
        damaged.write(b"damage! " * (max(size, 65536) // 8))
    in_force(lambda: says(gateway, "its file is damaged"), seconds=5)
    check_refused(gateway, "its file is damaged")

    remove(file)
    shutil.copy(backup, file)
    in_force(lambda: not degraded(gateway), seconds=10)
    assert gateway.edit("new").status_code == 200


def test_a_locked_state_is_reported_while_writes_wait(gateway: Running) -> None:
    with closing(sqlite3.connect(state_of(gateway), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        in_force(lambda: says(gateway, "has waited for"), seconds=15)
        in_force(lambda: total(scrape(gateway), "gateway_state_up") == 0, seconds=5)
        other.execute("ROLLBACK")
    in_force(lambda: not degraded(gateway), seconds=15)
    assert total(scrape(gateway), "gateway_state_up") == 1


def test_a_log_that_a_long_read_keeps_is_measured_and_reported(
    gateway: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.runtime.readiness.LONG_LOG_BYTES", 1000)
    assert says(gateway, "write-ahead log has")
    in_force(lambda: total(scrape(gateway), "gateway_state_log_bytes") > 1000, seconds=15)
