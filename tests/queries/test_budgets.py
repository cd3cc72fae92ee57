"""Budgets as they are listed, on both engines."""

from __future__ import annotations

from datetime import UTC

import pytest

from gateway.accounts.rules.errors import NotFound
from gateway.accounts.tables.accounts import list_budgets
from gateway.accounts.tables.teams import archive_team
from gateway.alerts.tables import refused_edits
from gateway.database.database import Database
from gateway.ledger.tables.budget_gauges import key_budget_balances
from gateway.model.caller import Limits
from gateway.queries.budgets import budget_views
from tests.support.accounts import BY, change, look, team_with_key
from tests.support.funds import CENT, NOW_MS, TODAY, Till


async def names(database: Database, **asked: object) -> list[str]:
    found = await look(database, list_budgets, **{"limit": 10, **asked})  # type: ignore[arg-type]
    return [record.name for record in found]


async def test_the_organisation_teams_and_keys_follow_each_other(database: Database) -> None:
    for team in ("ops", "press", "gone"):
        await team_with_key(database, team, f"key-of-{team}", limits=Limits(budget_nanos=CENT))
    assert await names(database, limit=2) == ["gone", "ops"]
    await Till(database).limit("organisation", budget_nanos=CENT)
    await change(database, archive_team, "gone", BY)
    every = await names(database)
    assert every[:3] == ["organisation", "ops", "press"]
    assert sorted(every[3:]) == ["key-of-ops", "key-of-press"]
    assert await names(database, after="team:ops") == every[2:]
    assert await names(database, team="ops") == ["ops", "key-of-ops"]
    with pytest.raises(NotFound):
        await names(database, team="none")


async def test_a_budget_shows_its_figures(database: Database) -> None:
    till = await Till(database).open()
    await till.limit("organisation", budget_nanos=50 * CENT, budget_period="total")
    await till.limit("team:design", budget_nanos=10 * CENT, budget_period="week")
    await till.limit("key:k1", budget_nanos=5 * CENT, budget_period="day")
    await till.reserve("a", 4 * CENT, images=2)
    await till.settle("a", 2 * CENT)
    await till.grant("design", 5 * CENT)
    await till.database.write(lambda tx: refused_edits.add(tx, {("key:k1", TODAY): 3}))
    records = await look(database, list_budgets, limit=10)
    views = await look(database, budget_views, records, UTC, NOW_MS)
    organisation, team, key = (views[record.id] for record in records)
    assert (organisation.forecast_usd, organisation.left_usd) == (None, "0.48")
    assert (team.limit_usd, team.granted_usd, team.left_usd) == ("0.15", "0.05", "0.13")
    assert team.forecast_usd == "0.056"  # 2.5 of 7 days have passed
    assert {view.needed_usd for view in views.values()} == {"0.02"}
    assert (key.name, key.resets_at, key.refused_today) == ("design/k1", "2026-11-26T00:00:00Z", 3)


async def test_the_gauges_show_the_oldest_keys_with_a_budget(database: Database) -> None:
    for team in ("ops", "press"):
        await team_with_key(database, team, limits=Limits(budget_nanos=CENT))
    for most in (0, 1, 5):
        found = await look(database, key_budget_balances, TODAY, UTC, most)
        assert len(found) == min(most, 2)
        assert {balance.limit_nanos for _, balance in found} <= {CENT}
