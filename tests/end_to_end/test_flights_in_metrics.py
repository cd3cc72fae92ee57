"""The shows of one paid call per edit, with real processes: crowds, kill -9, an orderly stop."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from gateway.database.clock import now_ms
from gateway.database.database import Transaction
from gateway.emulator import EmulatorServer
from gateway.ledger.rules.abandonment import HEARTBEAT_EXPIRY_MS, Abandonment
from gateway.ledger.tables import reports, unresolved_reservations
from gateway.ledger.tables.ledger_rows import LedgerRow
from gateway.settings import Settings, load
from tests.support.crowds import crowd, leaving_crowd, outcomes
from tests.support.engines import fresh_schema, postgres_url
from tests.support.serving import GatewayProcess, Overrides, in_state, make_key, tables_of
from tests.support.waiting import let_go, until

__all__ = ["postgres_url"]

CENT = 10_000_000


@contextmanager
def processes(tables: Overrides, folder: Path, count: int) -> Iterator[list[GatewayProcess]]:
    """So many gateways that share state and results."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(GatewayProcess(tables, folder / f"process-{number}"))
            for number in range(count)
        ]


def settings_of(tables: Overrides) -> Settings:
    return load(environment={}, overrides=tables)


def ledger_of(settings: Settings) -> Sequence[LedgerRow]:
    async def read(tx: Transaction) -> Sequence[LedgerRow]:
        return await reports.ledger_rows(tx, "2000-01-01", "2999-12-31")

    return in_state(settings, read)


def check_one_call_for_all(
    tables: Overrides, folder: Path, emulator: EmulatorServer, *, gateways: int, clients: int
) -> None:
    """All get the picture, the upstream is called once, and one row of cost is booked."""
    settings = settings_of(tables)
    make_key(settings)
    emulator.order(always={"latency_seconds": 5.0 if clients > 100 else 2.0})
    with processes(tables, folder, gateways) as served:
        answers = crowd([each.url for each in served], clients)
        # Whoever was admitted after the flight had landed has a HIT: the same to its purse.
        found = outcomes(answers)
        assert found["MISS"] == 1, found
        assert found["COALESCED"] + found["HIT"] == clients - 1, found
        assert found["COALESCED"] >= clients // 2, found
        for each in served:
            assert each.stop() == 0
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["created"] for answer in answers}) == 1
    assert emulator.stats()["calls"] == emulator.stats()["billed_calls"] == 1
    (row,) = ledger_of(settings)
    assert row.cost_nanos == CENT


# --- crowds ---------------------------------------------------------------------------


def test_a_crowd_at_three_processes_makes_one_call(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    tables = tables_of(tmp_path, emulator)
    check_one_call_for_all(tables, tmp_path, emulator, gateways=3, clients=60)


@pytest.mark.long
@pytest.mark.parametrize("gateways", [1, 3])
@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_500_clients_at_once_make_one_call(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    emulator: EmulatorServer,
    engine: str,
    gateways: int,
) -> None:
    more = {}
    if engine == "postgres":
        more = {"state": {"url": fresh_schema(request.getfixturevalue("postgres_url"))}}
    tables = tables_of(tmp_path, emulator, more)
    check_one_call_for_all(tables, tmp_path, emulator, gateways=gateways, clients=500)


# --- kill -9 --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lease_seconds", [1.5, pytest.param(10, marks=pytest.mark.long)], ids=["short", "as set"]
)
def test_followers_in_another_process_take_over_from_one_that_is_killed(
    tmp_path: Path, emulator: EmulatorServer, lease_seconds: float
) -> None:
    tables = tables_of(tmp_path, emulator, {"state": {"lease_seconds": lease_seconds}})
    settings = settings_of(tables)
    make_key(settings)
    emulator.order({"hang": True})
    with processes(tables, tmp_path, 2) as (leader, other), ThreadPoolExecutor(4) as pool:
        lost = pool.submit(leader.edit)
        until(lambda: emulator.stats()["in_flight"] == 1)
        followers = [pool.submit(other.edit) for _ in range(3)]
        time.sleep(1)  # they have read the lease, and nothing tells so from outside
        leader.kill()
        killed = time.monotonic()
        answers = [follower.result(60) for follower in followers]
        waited = time.monotonic() - killed
        assert lost.exception(10) is not None
        assert other.stop() == 0

    assert outcomes(answers) == {"MISS": 1, "COALESCED": 2}
    assert waited < lease_seconds + 2
    assert "a flight is taken over" in other.log.read_text()
    check_the_ledger_shows_both(settings, emulator)


def check_the_ledger_shows_both(settings: Settings, emulator: EmulatorServer) -> None:
    """The dead process's call is booked too, at its ceiling, once no flight can be that old."""
    assert emulator.stats()["billed_calls"] == 2
    (paid,) = ledger_of(settings)
    assert (paid.cost_nanos, paid.estimated) == (CENT, 0)
    later_ms = now_ms() + settings.longest_flight_ms + HEARTBEAT_EXPIRY_MS

    async def resolve(tx: Transaction) -> object:
        return await unresolved_reservations.settle_abandoned(
            tx,
            Abandonment(later_ms, settings.longest_flight_ms, HEARTBEAT_EXPIRY_MS),
        )

    in_state(settings, resolve)
    rows = ledger_of(settings)
    assert sorted((row.cost_nanos, row.estimated) for row in rows) == [(CENT, 0), (CENT, 1)]
    assert len({row.fingerprint for row in rows}) == 1


def test_after_a_kill_the_same_edit_is_bought_again_once_the_lease_has_run_out(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    tables = tables_of(tmp_path, emulator, {"state": {"lease_seconds": 1.5}})
    make_key(settings_of(tables))
    emulator.order({"hang": True})
    with processes(tables, tmp_path, 1) as (first,):
        assert leaving_crowd(first.url, 1, patience=0.7) == 1
        first.kill()
    with processes(tables, tmp_path, 1) as (again,):
        began = time.monotonic()
        assert outcomes([again.edit()]) == {"MISS": 1}
        assert time.monotonic() - began < 4


# --- an orderly stop ------------------------------------------------------------------


def test_a_stop_waits_for_a_flight_whose_client_has_left(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    tables = tables_of(tmp_path, emulator)
    make_key(settings_of(tables))
    emulator.order({"hang": True})
    with processes(tables, tmp_path, 1) as (first,), ThreadPoolExecutor(1) as pool:
        assert leaving_crowd(first.url, 1, patience=0.7) == 1
        stopped = pool.submit(first.stop)
        until(lambda: '"draining"' in first.log.read_text())
        let_go(emulator)
        assert stopped.result(30) == 0
        assert '"flights": 1' in first.log.read_text()
    with processes(tables, tmp_path, 1) as (again,):
        assert outcomes([again.edit()]) == {"HIT": 1}
    assert emulator.stats()["billed_calls"] == 1


def test_a_stop_waits_no_longer_than_it_is_told(tmp_path: Path, emulator: EmulatorServer) -> None:
    tables = tables_of(tmp_path, emulator, {"server": {"drain_seconds": 1}})
    make_key(settings_of(tables))
    emulator.order({"hang": True})
    with processes(tables, tmp_path, 1) as (first,):
        assert leaving_crowd(first.url, 1, patience=0.7) == 1
        began = time.monotonic()
        assert first.stop() == 0
        assert time.monotonic() - began < 6
        assert "stopped with calls unfinished" in first.log.read_text()
