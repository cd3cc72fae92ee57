"""Outages in the state, and their alerts in the outbox, on both engines."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from gateway.alerts.rules.outages import Outage
from gateway.alerts.tables import outages, outbox
from gateway.alerts.tables.outbox import Alert, Due
from gateway.database.database import Database
from tests.support.databases import open_engine
from tests.support.funds import NOW_MS, Till

HOOK = "https://chat.example/everybody"
ALERT = Alert("alr_1", "upstream.down", {"text": "The upstream a is down."})


def down(at_ms: int = NOW_MS) -> Outage:
    return Outage("a", at_ms, "upstream_failed")


async def begin(database: Database, at_ms: int = NOW_MS) -> Outage | None:
    return await database.write(lambda tx: outages.begin(tx, down(at_ms)))


async def end(database: Database, at_ms: int) -> Outage | None:
    return await database.write(lambda tx: outages.end(tx, "a", at_ms))


async def test_one_process_begins_an_outage_and_one_ends_it(
    database_url: str, database: Database
) -> None:
    other = open_engine(database_url)
    try:
        begun = await asyncio.gather(*(begin(each, NOW_MS) for each in (database, other) * 4))
        ended = await asyncio.gather(*(end(each, NOW_MS + 9) for each in (database, other) * 4))
    finally:
        await other.close()
    assert [each for each in begun if each] == [down()]
    assert [each for each in ended if each] == [Outage("a", NOW_MS, "upstream_failed", NOW_MS + 9)]


async def test_what_failed_or_answered_before_changes_nothing(database: Database) -> None:
    assert await end(database, NOW_MS) is None
    await begin(database)
    assert await end(database, NOW_MS - 1) is None
    assert await begin(database, NOW_MS + 1) is None
    assert await end(database, NOW_MS + 10)
    assert await begin(database, NOW_MS + 5) is None
    assert await begin(database, NOW_MS + 20) == down(NOW_MS + 20)


async def add(database: Database, default_url: str = "", alert: Alert = ALERT) -> None:
    await database.write(lambda tx: outbox.add(tx, alert, NOW_MS, default_url=default_url))


async def take(database: Database, now_ms: int = NOW_MS) -> list[Due]:
    found = await database.write(
        lambda tx: outbox.take_due(tx, now_ms=now_ms, lease_ms=60_000, limit=8)
    )
    return list(found)


async def test_an_alert_is_posted_to_the_organisation_until_it_is_delivered(
    database: Database,
) -> None:
    till = await Till(database).open()
    await till.limit("organisation", webhook_url=HOOK)
    await add(database)
    (due,) = await take(database)
    assert due == Due("alr_1", ALERT, NOW_MS, 1, HOOK)
    assert await take(database) == []
    await database.write(lambda tx: outbox.postpone(tx, due, NOW_MS + 5))
    (again,) = await take(database, NOW_MS + 5)
    assert again.attempt == 2
    await database.write(lambda tx: outbox.delivered(tx, again, NOW_MS + 6))
    assert await take(database, NOW_MS + 10**6) == []


async def test_an_alert_is_posted_where_there_is_a_webhook(database: Database) -> None:
    await add(database)
    assert await take(database) == []
    other = replace(ALERT, id="alr_2")
    await add(database, HOOK, other)
    assert [due.content for due in await take(database)] == [other]
