"""The dearest rows of the table in short: a host that is killed, or paused, with calls in flight.

The failover is in tests/database/test_failover.py.
"""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.emulator import EmulatorServer
from gateway.ledger.tables.verify import verify
from tests.end_to_end.test_crash import settle_what_was_left
from tests.support.engines import fresh_schema, postgres_url
from tests.support.serving import GatewayProcess, in_state, make_key, settings_for, tables_of
from tests.support.waiting import until

__all__ = ["postgres_url"]

EDITS = [f"in flight {number}" for number in range(3)]
BUDGET_NANOS = 100_000_000


@pytest.mark.parametrize("befallen", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lost_gateway_s_edits_are_bought_by_another_and_every_call_is_booked(
    tmp_path: Path, emulator: EmulatorServer, postgres_url: str, befallen: signal.Signals
) -> None:
    more = {"state": {"url": fresh_schema(postgres_url), "lease_seconds": 1}}
    tables, settings = tables_of(tmp_path, emulator, more), settings_for(tmp_path, emulator, more)
    make_key(settings, team_terms={"budget_usd": str(BUDGET_NANOS / 1e9)})
    with (
        GatewayProcess(tables, tmp_path / "one") as lost,
        GatewayProcess(tables, tmp_path / "two") as other,
        ThreadPoolExecutor() as pool,
    ):
        emulator.order(always={"latency_seconds": 0.7})
        first = [pool.submit(_ask, lost, edit) for edit in EDITS]
        until(lambda: emulator.stats()["in_flight"] == len(EDITS))
        lost.process.send_signal(befallen)
        again = list(pool.map(lambda edit: _ask(other, edit), EDITS))
        lost.process.send_signal(signal.SIGCONT)
        statuses = [each.result() for each in first]
        until(lambda: not emulator.stats()["in_flight"])
        other.stop()
        lost.stop()
    left = settle_what_was_left(settings)
    booked, proven = in_state(settings, _booked), in_state(settings, verify)

    assert again == [200] * len(EDITS)
    assert statuses == ([0] if befallen == signal.SIGKILL else [200]) * len(EDITS)
    assert bool(left) == (befallen == signal.SIGKILL)
    assert emulator.stats()["billed_calls"] <= 2 * len(EDITS)
    bills = {line["client_request_id"]: line["cost_nanos"] for line in emulator.statement()}
    assert {name: cost for name, cost in bills.items() if booked.get(name, 0) < cost} == {}
    assert (proven.differences, proven.held_nanos) == ((), 0)
    assert emulator.stats()["billed_nanos"] <= proven.spent_nanos <= BUDGET_NANOS


def _ask(gateway: GatewayProcess, edit: str) -> int:
    """The answer's status; 0 if the connection broke."""
    try:
        return gateway.edit(edit).status_code
    except httpx.TransportError:
        return 0


async def _booked(tx: Any) -> dict[str, int]:
    rows = await tx.fetch("SELECT request_id, SUM(cost_nanos) AS cost FROM ledger GROUP BY 1")
    return {row["request_id"]: int(row["cost"]) for row in rows}
