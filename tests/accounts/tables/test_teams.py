"""Teams: named once, bounded or said to be unlimited, archived and never deleted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.accounts.rules.account_settings import AccountSettings, change_settings
from gateway.accounts.rules.errors import AccountEnded, AlreadyExists, BadValue, NotFound
from gateway.accounts.tables.audit import Author, list_audit
from gateway.accounts.tables.organisation import show_organisation, update_organisation
from gateway.accounts.tables.teams import (
    archive_team,
    create_team,
    list_teams,
    show_team,
    unlimited_teams,
    update_team,
)
from gateway.database.database import Database
from gateway.model.caller import Limits
from tests.support.accounts import BY, FIVE_DOLLARS, NOW, change, look

EVERYTHING = AccountSettings(
    limits=Limits(
        budget_nanos=5_000_000_000,
        budget_period="week",
        paid_images_per_day=100,
        requests_per_minute=60,
        max_in_flight=8,
        max_reference_images=3,
        models=frozenset({"deepshi-image-1"}),
        may_bypass_cache=False,
    ),
    owner="Ada",
    cost_centre="4711",
    webhook_url="https://chat.example/hook/secret",
    warn_percents=(10, 90),
)


async def test_a_team_keeps_every_term_it_was_given(database: Database) -> None:
    made = await change(database, create_team, "ops", EVERYTHING, BY)
    shown = await look(database, show_team, "ops")
    assert shown == made
    assert shown.settings == EVERYTHING
    assert (shown.id, shown.level, shown.parent) == ("team:ops", "team", "organisation")
    assert (shown.created_ms, shown.ended_ms, shown.paused) == (NOW, None, False)


async def test_a_budget_without_a_period_is_one_of_a_month(database: Database) -> None:
    made = await change(database, create_team, "ops", FIVE_DOLLARS, BY)
    assert made.settings.limits.budget_period == "month"


@pytest.mark.parametrize("name", ["", "a b", "a/b", "x" * 65, "ä", ".", "..", "a\n", "\x00"])
async def test_a_name_that_cannot_be_is_refused(database: Database, name: str) -> None:
    with pytest.raises(BadValue, match="1 to 64"):
        await change(database, create_team, name, FIVE_DOLLARS, BY)


async def test_a_name_is_taken_once(database: Database) -> None:
    await change(database, create_team, "ops", FIVE_DOLLARS, BY)
    with pytest.raises(AlreadyExists, match="update it instead"):
        await change(database, create_team, "ops", FIVE_DOLLARS, BY)


async def test_the_name_of_an_archived_team_is_never_used_again(database: Database) -> None:
    await change(database, create_team, "ops", FIVE_DOLLARS, BY)
    await change(database, archive_team, "ops", BY)
    with pytest.raises(AlreadyExists, match="archived"):
        await change(database, create_team, "ops", FIVE_DOLLARS, BY)


async def test_a_team_that_nothing_bounds_is_refused(database: Database) -> None:
    with pytest.raises(BadValue, match="unlimited"):
        await change(database, create_team, "ops", AccountSettings(), BY)
    assert await look(database, list_teams) == []


async def test_a_team_may_be_unlimited_where_it_is_said(database: Database) -> None:
    made = await change(database, create_team, "ops", AccountSettings(unlimited=True), BY)
    assert made.settings.unlimited
    assert await look(database, unlimited_teams) == ["ops"]


async def test_a_team_without_a_budget_is_a_choice_under_an_organisations_budget_too(
    database: Database,
) -> None:
    await change(database, update_organisation, lambda _: FIVE_DOLLARS, BY)
    with pytest.raises(BadValue, match="unlimited"):
        await change(database, create_team, "ops", AccountSettings(), BY)
    assert (await change(database, create_team, "ops", AccountSettings(unlimited=True), BY)).name


async def test_a_team_of_version_0_1_may_still_rely_on_the_organisations_budget(
    database: Database,
) -> None:
    await change(database, update_organisation, lambda _: FIVE_DOLLARS, BY)
    await change(database, create_team, "ops", AccountSettings(unlimited=True), BY)
    await database.write(lambda tx: tx.fetch("UPDATE accounts SET unlimited = 0"))
    changed = lambda terms: replace(terms, owner="Ada")  # noqa: E731
    assert (await change(database, update_team, "ops", changed, BY)).settings.owner == "Ada"
    with pytest.raises(BadValue, match="ops"):
        await change(database, update_organisation, lambda _: AccountSettings(), BY)
    shown = await look(database, show_organisation)
    assert shown.settings.limits.budget_nanos == 5_000_000_000


async def test_an_update_changes_what_it_names_and_nothing_else(database: Database) -> None:
    await change(database, create_team, "ops", EVERYTHING, BY)
    later = Author("ada", NOW + 5, "more work")
    updated = await change(
        database,
        update_team,
        "ops",
        lambda terms: change_settings(terms, "team", {"budget_usd": "7"}),
        later,
    )
    expected = change_settings(EVERYTHING, "team", {"budget_usd": "7"})
    assert updated.settings == expected
    assert await look(database, show_team, "ops") == updated


async def test_an_update_that_changes_nothing_leaves_no_trace(database: Database) -> None:
    made = await change(database, create_team, "ops", EVERYTHING, BY)
    assert await change(database, update_team, "ops", lambda terms: terms, BY) == made
    assert len(await look(database, list_audit)) == 1


async def test_a_budget_cannot_be_taken_from_a_team_that_nothing_else_bounds(
    database: Database,
) -> None:
    await change(database, create_team, "ops", FIVE_DOLLARS, BY)
    with pytest.raises(BadValue, match="unlimited"):
        await change(database, update_team, "ops", lambda _: AccountSettings(), BY)


async def test_an_archived_team_takes_no_changes(database: Database) -> None:
    await change(database, create_team, "ops", FIVE_DOLLARS, BY)
    await change(database, archive_team, "ops", BY)
    with pytest.raises(AccountEnded, match="archived"):
        await change(database, update_team, "ops", lambda _: EVERYTHING, BY)


async def test_archiving_twice_is_archiving_once(database: Database) -> None:
    await change(database, create_team, "ops", FIVE_DOLLARS, BY)
    first = await change(database, archive_team, "ops", Author("root", NOW + 1))
    again = await change(database, archive_team, "ops", Author("root", NOW + 2))
    assert first == again
    assert again.ended_ms == NOW + 1


@pytest.mark.parametrize("name", ["nobody", "\x00", "\ud800", "x" * 500])
async def test_a_team_that_is_not_there_is_said_so(database: Database, name: str) -> None:
    with pytest.raises(NotFound):
        await look(database, show_team, name)


async def test_a_listing_goes_page_by_page_and_leaves_out_the_archived(
    database: Database,
) -> None:
    for name in ("c", "a", "d", "b"):
        await change(database, create_team, name, FIVE_DOLLARS, BY)
    await change(database, archive_team, "b", BY)
    first = await look(database, list_teams, limit=2)
    second = await look(database, list_teams, after=first[-1].id, limit=2)
    assert [team.name for team in (*first, *second)] == ["a", "c", "d"]
    everyone = await look(database, list_teams, archived=True)
    assert [team.name for team in everyone] == ["a", "b", "c", "d"]


async def test_no_team_has_the_name_of_the_organisations_budget(database: Database) -> None:
    """Who asks for more money for the team would ask for it for the organisation."""
    with pytest.raises(BadValue, match="names the organisation's budget"):
        await change(database, create_team, "organisation", FIVE_DOLLARS, BY)
