"""What alerts read of spending and prices, on both engines."""

from __future__ import annotations

from gateway.alerts.tables import spending
from gateway.alerts.tables.spending import StoppedModel
from gateway.database.database import Database
from gateway.ledger.tables import price_status
from tests.support.accounts import BY, change
from tests.support.funds import CENT, DAY_MS, NOW_MS, TODAY, Till


async def test_spending_is_read_by_day(database: Database) -> None:
    till = await Till(database).open()
    for days in (0, 1, 14, 15):
        at = NOW_MS - days * DAY_MS
        await till.reserve(f"r{days}", at=at)
        await till.settle(f"r{days}", at=at)
    found = await database.read(lambda tx: spending.spent_by_day(tx, ["team:design"], TODAY))
    assert found == {"team:design": {TODAY: CENT, "2026-11-24": CENT, "2026-11-11": CENT}}


async def test_models_that_are_stopped_are_read_until_their_price_is_confirmed(
    database: Database,
) -> None:
    till = await Till(database).open()
    await till.limit("team:design", owner="Ada")
    for model, team in (("one", "gone"), ("two", "design")):
        await change(database, price_status.stop, "deepshi", model, CENT, NOW_MS, team)
    found = await database.read(spending.stopped_models)
    assert StoppedModel("deepshi", "two", CENT, NOW_MS, "design", "Ada") in found
    assert StoppedModel("deepshi", "one", CENT, NOW_MS, "gone", "") in found
    assert len(found) == 2
    await change(database, price_status.confirm, "deepshi", "two", CENT, today=TODAY, by=BY)
    assert [each.model for each in await database.read(spending.stopped_models)] == ["one"]
