"""The audit: every change with who, when, what it was, what it is, and why."""

from __future__ import annotations

import pytest

from gateway.accounts.rules.account_settings import change_settings
from gateway.accounts.rules.errors import BadValue
from gateway.accounts.tables.audit import Author, append, list_audit
from gateway.accounts.tables.teams import archive_team, create_team, update_team
from gateway.database.database import Database
from tests.support.accounts import BY, FIVE_DOLLARS, NOW, change, look

WHY = Author("ada", NOW + 10, "quarter end")


async def test_a_change_is_kept_with_who_when_old_new_and_why(database: Database) -> None:
    await change(database, create_team, "ops", FIVE_DOLLARS, BY)
    await change(
        database,
        update_team,
        "ops",
        lambda terms: change_settings(terms, "team", {"budget_usd": "7", "owner": "Ada"}),
        WHY,
    )
    created, updated = await look(database, list_audit)
    assert (created.action, created.actor, created.at_ms) == ("team.create", "root", NOW)
    assert created.new == {"name": "ops", "budget_usd": "5.00", "budget_period": "month"}
    assert (updated.action, updated.subject) == ("team.update", "team:ops")
    assert (updated.actor, updated.at_ms, updated.reason) == ("ada", NOW + 10, "quarter end")
    assert updated.old == {"budget_usd": "5.00", "owner": ""}
    assert updated.new == {"budget_usd": "7.00", "owner": "Ada"}


async def test_an_end_is_kept(database: Database) -> None:
    await change(database, create_team, "ops", FIVE_DOLLARS, BY)
    await change(database, archive_team, "ops", WHY)
    row = (await look(database, list_audit))[-1]
    assert (row.action, row.old, row.new) == ("team.archive", {"ended": False}, {"ended": True})


async def test_a_webhooks_address_is_kept_without_what_lets_one_post_to_it(
    database: Database,
) -> None:
    await change(database, create_team, "ops", FIVE_DOLLARS, BY)
    await change(
        database,
        update_team,
        "ops",
        lambda terms: change_settings(
            terms, "team", {"webhook_url": "https://u:p@chat.example/s/ecret"}
        ),
        BY,
    )
    row = (await look(database, list_audit))[-1]
    assert row.new == {"webhook_url": "https://chat.example/…"}


async def test_a_change_that_fails_is_not_in_the_audit(database: Database) -> None:
    with pytest.raises(BadValue):
        await change(database, create_team, "no good", FIVE_DOLLARS, BY)
    assert await look(database, list_audit) == []


@pytest.mark.parametrize("reason", ["two\nlines", "x" * 201, "\x00", "\ud800"])
async def test_a_reason_is_one_line(database: Database, reason: str) -> None:
    with pytest.raises(BadValue, match="reason"):
        await change(database, create_team, "ops", FIVE_DOLLARS, Author("root", NOW, reason))
    assert await look(database, list_audit) == []


async def test_the_audit_is_listed_since_a_time_by_pages_and_by_subject(
    database: Database,
) -> None:
    for number in range(5):
        subject = "team:a" if number % 2 else "organisation"
        by = Author("root", NOW + number)
        await change(database, append, by, "test", subject, {}, {"number": number})

    async def numbers(**narrowed: object) -> list[object]:
        rows = await look(database, list_audit, **narrowed)  # type: ignore[arg-type]
        return [row.new["number"] for row in rows]

    assert await numbers() == [0, 1, 2, 3, 4]
    assert await numbers(since_ms=NOW + 3) == [3, 4]
    assert await numbers(after=2, limit=2) == [2, 3]
    assert await numbers(subject="team:a") == [1, 3]
