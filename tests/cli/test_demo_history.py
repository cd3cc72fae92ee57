"""The month of the demo: its books are in order, and it shows something of everything."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

from gateway.cli.demo_history import TEAMS, DemoHistory
from gateway.database.database import Database
from gateway.ledger.tables.reports import total_of, usage_by
from gateway.ledger.tables.verify import verify
from gateway.model.outcome import Outcome

NOW_MS = int(datetime(2026, 11, 25, 23, tzinfo=UTC).timestamp()) * 1000


async def test_its_books_are_in_order_and_have_something_of_everything(database: Database) -> None:
    history = DemoHistory(NOW_MS, UTC, "emulator", days=3)
    callers = await database.write(history.make_accounts)
    for requests in history.days(callers):
        await database.write(partial(history.write, requests=requests))
    await database.write(history.ask_for_money)

    lines = await database.read(lambda tx: usage_by(tx, "team", "2026-11-01", "2026-11-30"))
    total = total_of(lines)
    assert (await database.read(verify)).differences == ()
    assert [line.group for line in lines] == sorted(team.name for team in TEAMS)
    assert total.outcomes.keys() >= {Outcome.HIT, Outcome.MISS, Outcome.COALESCED}
    assert total.spent_nanos > 0
    assert total.saved_nanos > 0
