"""`apply`: the state made to match a file, all or nothing, and idempotently."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from typing import Any

import pytest

from gateway.accounts.rules.account_settings import AccountSettings, change_settings
from gateway.accounts.rules.errors import AccountError, AlreadyExists, BadValue
from gateway.accounts.rules.organisation_file import OrganisationFile, parse_organisation_file
from gateway.accounts.tables.apply import Applied, DryRun, PlanChanged, Step, apply
from gateway.accounts.tables.audit import list_audit
from gateway.accounts.tables.keys import create_key, list_keys, revoke_key, show_key
from gateway.accounts.tables.organisation import show_organisation
from gateway.accounts.tables.teams import (
    archive_team,
    create_team,
    list_teams,
    show_team,
    update_team,
)
from gateway.database.database import Database
from gateway.model.caller import Limits
from tests.support.accounts import BY, FIVE_DOLLARS, change, look

NO_DEFAULTS = Limits()
FILE = """
[organisation]
requests_per_minute = 600

[teams.design]
budget_usd = 250.000000001
owner = "Ada"

[teams.design.keys.website]
budget_usd = 20
budget_period = "day"
tags = { project = "atlas" }

[teams.design.keys.figma]

[teams.research]
unlimited = true
"""


def read(text: str) -> OrganisationFile:
    return parse_organisation_file(tomllib.loads(text, parse_float=Decimal))


async def applied(database: Database, text: str, **more: Any) -> Applied:
    return await change(database, apply, read(text), BY, **{"defaults": NO_DEFAULTS, **more})


async def rehearsed(database: Database, text: str, **more: Any) -> tuple[Step, ...]:
    given = {"defaults": NO_DEFAULTS, "dry_run": True, **more}
    with pytest.raises(DryRun) as caught:
        await change(database, apply, read(text), BY, **given)
    return caught.value.steps


def told(steps: tuple[Step, ...]) -> list[tuple[str, str]]:
    return [(step.action, step.subject) for step in steps]


async def test_what_the_file_names_is_made(database: Database) -> None:
    done = await applied(database, FILE)

    assert told(done.steps) == [
        ("create", "team design"),
        ("create", "key design/website"),
        ("create", "key design/figma"),
        ("create", "team research"),
        ("change", "organisation"),
    ]
    team, key = (
        await look(database, show_team, "design"),
        await look(database, show_key, "design/website"),
    )
    assert team.settings.limits.budget_nanos == 250_000_000_001
    assert (team.settings.owner, team.settings.limits.budget_period) == ("Ada", "month")
    assert (key.account.settings.limits.budget_period, dict(key.account.settings.tags)) == (
        "day", {"project": "atlas"},
    )  # fmt: skip
    assert [made.key.name for made in done.made] == ["website", "figma"]


async def test_a_second_time_changes_nothing_and_leaves_no_trace(database: Database) -> None:
    await applied(database, FILE)
    audit = await look(database, list_audit)
    again = await applied(database, FILE)

    assert again == Applied((), ())
    assert await look(database, list_audit) == audit
    assert (await applied(database, FILE, prune=True)).steps == ()


async def test_what_the_file_does_not_name_is_left_alone(database: Database) -> None:
    await applied(database, FILE)
    await change(database, create_team, "other", FIVE_DOLLARS, BY)
    await change(database, create_key, "design", "extra", AccountSettings(), BY)
    await change(
        database,
        update_team,
        "design",
        lambda terms: change_settings(terms, "team", {"max_in_flight": 3}),
        BY,
    )

    assert (await applied(database, FILE)).steps == ()
    assert (await look(database, show_team, "design")).settings.limits.max_in_flight == 3


async def test_with_prune_the_file_is_the_whole_truth(database: Database) -> None:
    await applied(database, FILE)
    await change(database, create_team, "other", FIVE_DOLLARS, BY)
    await change(database, create_key, "other", "theirs", AccountSettings(), BY)
    await change(database, create_key, "design", "extra", AccountSettings(), BY)
    wider = {"max_in_flight": 3, "owner": "Grace"}
    await change(
        database, update_team, "design", lambda terms: change_settings(terms, "team", wider), BY
    )
    done = await applied(database, FILE, prune=True)

    assert done.steps == (
        Step("archive", "team other", {}, {"keys": ["theirs"]}),
        Step("change", "team design",
             {"max_in_flight": 3, "owner": "Grace"}, {"max_in_flight": None, "owner": "Ada"}),
        Step("revoke", "key design/extra", {}, {}),
    )  # fmt: skip
    assert [team.name for team in await look(database, list_teams)] == ["design", "research"]
    kept = [key.name for key in await look(database, list_keys, team="design")]
    assert sorted(kept) == ["figma", "website"]


async def test_a_pruned_team_gets_what_a_new_one_would(database: Database) -> None:
    await applied(database, "[teams.design]\nbudget_usd = 9")
    defaults = Limits(budget_nanos=5_000_000_000, budget_period="week", max_in_flight=2)
    await applied(database, "[teams.design]", prune=True, defaults=defaults)

    assert (await look(database, show_team, "design")).settings.limits == defaults


async def test_prune_leaves_an_organisation_alone_that_the_file_does_not_have(
    database: Database,
) -> None:
    await applied(database, "[organisation]\nbudget_usd = 5")

    assert (await applied(database, "", prune=True)).steps == ()
    assert (await look(database, show_organisation)).settings.limits.budget_nanos == 5_000_000_000


async def test_none_takes_a_term_away(database: Database) -> None:
    await applied(database, FILE)
    text = '[teams.design]\nowner = "none"\nbudget_usd = "none"\nunlimited = true'
    done = await applied(database, text)

    assert done.steps[0].old == {"budget_usd": "250.000000001", "budget_period": "month",
                                 "unlimited": False, "owner": "Ada"}  # fmt: skip
    assert (await look(database, show_team, "design")).settings == AccountSettings(unlimited=True)


async def test_a_rehearsal_says_the_same_and_writes_nothing(database: Database) -> None:
    steps = await rehearsed(database, FILE)

    assert await look(database, list_teams) == []
    assert await look(database, list_audit) == []
    assert (await applied(database, FILE, planned=steps)).steps == steps


async def test_a_plan_that_no_longer_holds_is_not_carried_out(database: Database) -> None:
    steps = await rehearsed(database, FILE)
    await change(database, create_team, "research", FIVE_DOLLARS, BY)
    with pytest.raises(PlanChanged):
        await applied(database, FILE, planned=steps)

    assert [team.name for team in await look(database, list_teams)] == ["research"]


async def test_all_of_it_or_nothing(database: Database) -> None:
    text = FILE + '[teams.research.keys.late]\nexpires_at = "2001-01-01"'
    with pytest.raises(BadValue, match=r"\[teams.research.keys.late\] expires_at is in the past"):
        await applied(database, text)

    assert await look(database, list_teams) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[teams.design]\nbudget_usd = -1", r"\[teams.design\] budget_usd takes"),
        ("[teams.design]\nbudget_usd = nan", r"\[teams.design\] budget_usd takes"),
        ("[teams.design]", r"\[teams.design\] The team .design. has no budget"),
        ("[teams.'a b']\nunlimited = true", r"\[teams.a b\] A team's name"),
        ("[teams.d]\nunlimited = true\n[teams.d.keys.' x']", r"\[teams.d.keys. x\] A key's name"),
        ("[organisation]\nbudget_period = 'year'", r"\[organisation\] budget_period"),
    ],
)
async def test_a_fault_says_which_table_it_is_in(database: Database, text: str, said: str) -> None:
    with pytest.raises(AccountError, match=said):
        await applied(database, text)


async def test_an_archived_team_does_not_come_back(database: Database) -> None:
    await change(database, create_team, "design", FIVE_DOLLARS, BY)
    await change(database, archive_team, "design", BY)
    with pytest.raises(AlreadyExists, match="archived"):
        await applied(database, FILE)


async def test_a_revoked_key_that_the_file_still_names_is_made_anew(database: Database) -> None:
    first = await applied(database, FILE)
    await change(database, revoke_key, "design/figma", BY)
    again = await applied(database, FILE)

    assert told(again.steps) == [("create", "key design/figma")]
    assert again.made[0].secret not in {made.secret for made in first.made}


async def test_the_organisations_budget_may_come_and_go_with_the_teams_that_need_it(
    database: Database,
) -> None:
    """Either way there is no moment at which nothing bounds a team."""
    bounded = "[organisation]\nbudget_usd = 5\n[teams.design]\nunlimited = true"
    assert (await applied(database, bounded)).steps
    freed = "[organisation]\nbudget_usd = 'none'\n[teams.design]\nbudget_usd = 3"
    assert (await applied(database, freed)).steps
    back = "[organisation]\nbudget_usd = 5\n[teams.design]\nunlimited = true"
    assert (await applied(database, back)).steps


async def test_every_change_is_in_the_audit(database: Database) -> None:
    done = await applied(database, FILE)
    rows = await look(database, list_audit)

    assert len(rows) == len(done.steps)
    assert {row.actor for row in rows} == {BY.actor}
    assert rows[0].new["budget_usd"] == "250.000000001"


async def test_a_limit_of_nothing_at_all_is_told(database: Database) -> None:
    done = await applied(database, "[teams.d]\nunlimited = true\nrequests_per_minute = 0")

    assert done.steps[0].new["requests_per_minute"] == 0
    assert (await look(database, list_audit))[0].new["requests_per_minute"] == 0


async def test_a_webhooks_address_is_in_no_plan(database: Database) -> None:
    text = "[teams.d]\nunlimited = true\nwebhook_url = 'https://chat.example/hook/{}'"
    steps = await rehearsed(database, text.format("sesame"))
    await applied(database, text.format("sesame"))
    steps += await rehearsed(database, text.format("barley"))

    assert "chat.example" in str(steps)
    assert "sesame" not in str(steps)
    assert "barley" not in str(steps)


def test_every_name_that_is_not_known_is_told_at_once_with_the_nearest() -> None:
    text = """
        organization = 1
        [organisation]
        budget = 1
        [teams.design]
        ownr = "Ada"
        [teams.design.key.website]
        [teams.design.keys.website]
        tag = 1
    """
    with pytest.raises(BadValue) as caught:
        read(text)

    lines = caught.value.message.splitlines()
    hints = ("organisation", "budget_usd", "owner", "keys", "tags")
    assert len(lines) == len(hints)
    for line, hint in zip(lines, hints, strict=True):
        assert line.endswith(f"Did you mean {hint!r}?")


@pytest.mark.parametrize(
    "text", ["teams = 1", "[teams]\ndesign = 1", "[teams.design]\nkeys = []", "organisation = []"]
)
def test_what_should_be_a_table_is_said_to(text: str) -> None:
    with pytest.raises(BadValue, match="is a table"):
        read(text)
