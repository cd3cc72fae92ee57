"""The organisation: always there, bounding everybody; and the pause."""

from __future__ import annotations

import pytest

from gateway.accounts.rules.account_settings import AccountSettings
from gateway.accounts.rules.errors import BadValue, NotFound
from gateway.accounts.tables.audit import list_audit
from gateway.accounts.tables.organisation import (
    pause,
    resume,
    show_organisation,
    update_organisation,
)
from gateway.accounts.tables.teams import create_team, show_team
from gateway.database.database import Database
from gateway.model.caller import Limits
from tests.support.accounts import BY, FIVE_DOLLARS, change, look


async def test_the_organisation_is_there_from_the_start_without_limits(
    database: Database,
) -> None:
    shown = await look(database, show_organisation)
    assert (shown.id, shown.settings, shown.paused) == ("organisation", AccountSettings(), False)


async def test_its_limits_can_be_changed(database: Database) -> None:
    wanted = AccountSettings(Limits(budget_nanos=1, budget_period="total", max_in_flight=3))
    await change(database, update_organisation, lambda _: wanted, BY)
    assert (await look(database, show_organisation)).settings == wanted


async def test_a_bad_limit_changes_nothing(database: Database) -> None:
    with pytest.raises(BadValue, match="max_in_flight"):
        await change(
            database, update_organisation, lambda _: AccountSettings(Limits(max_in_flight=-1)), BY
        )
    assert (await look(database, show_organisation)).settings == AccountSettings()


async def test_everybody_can_be_paused_and_resumed(database: Database) -> None:
    assert (await change(database, pause, BY)).paused
    assert (await look(database, show_organisation)).paused
    assert not (await change(database, resume, BY)).paused
    actions = [row.action for row in await look(database, list_audit)]
    assert actions == ["organisation.pause", "organisation.resume"]


async def test_a_team_can_be_paused_alone(database: Database) -> None:
    await change(database, create_team, "ops", FIVE_DOLLARS, BY)
    await change(database, pause, BY, "ops")
    assert (await look(database, show_team, "ops")).paused
    assert not (await look(database, show_organisation)).paused


async def test_a_team_that_is_not_there_cannot_be_paused(database: Database) -> None:
    with pytest.raises(NotFound, match="nobody"):
        await change(database, pause, BY, "nobody")
