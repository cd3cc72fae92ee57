"""The state of schedules, and the outbox of mails, on both engines."""

from __future__ import annotations

import asyncio
from functools import partial

from gateway.alerts.rules.mail_content import AttachedCsv, Mail, MailContent
from gateway.alerts.tables import mail_outbox
from gateway.alerts.tables.mail_outbox import DueMail
from gateway.database.database import Database
from gateway.reports.tables import schedules
from tests.support.databases import open_engine
from tests.support.funds import NOW_MS, Till

CONTENT = MailContent("subject", "text", "<p>html</p>", (AttachedCsv("a.csv", "a\n1\n"),))
MAIL = Mail("mail_1", "report.monthly", "ada@example.com", CONTENT, NOW_MS)


async def lease(database: Database, now_ms: int = NOW_MS) -> bool:
    return await database.write(
        lambda tx: schedules.lease(tx, "monthly", "2026-10-31", now_ms=now_ms, until_ms=now_ms + 9)
    )


async def take(database: Database, now_ms: int = NOW_MS) -> list[DueMail]:
    return list(
        await database.write(
            lambda tx: mail_outbox.take_due(tx, now_ms=now_ms, lease_ms=60_000, limit=8)
        )
    )


async def test_one_process_writes_the_reports_of_a_month(
    database_url: str, database: Database
) -> None:
    for day in ("2026-10-31", "2026-11-30"):  # whichever process is first
        await database.write(partial(schedules.begin, schedule="monthly", through_day=day))
    other = open_engine(database_url)
    try:
        leased = await asyncio.gather(*(lease(each) for each in (database, other) * 4))
    finally:
        await other.close()
    assert leased.count(True) == 1
    assert not await lease(database, NOW_MS + 8)
    assert await lease(database, NOW_MS + 9)  # it has died
    await database.write(lambda tx: schedules.advance(tx, "monthly", "2026-11-30"))
    await database.write(lambda tx: schedules.advance(tx, "monthly", "2026-10-31"))  # too late
    assert not await lease(database, NOW_MS + 100)
    found = await database.read(lambda tx: schedules.through_day(tx, "monthly"))
    assert found == "2026-11-30"
    assert await database.read(lambda tx: schedules.through_day(tx, "weekly")) is None


async def test_a_mail_is_added_once_and_taken_until_it_is_delivered(database: Database) -> None:
    assert await database.write(lambda tx: mail_outbox.add(tx, [MAIL])) == 1
    assert await database.write(lambda tx: mail_outbox.add(tx, [MAIL])) == 0
    assert await take(database) == [DueMail(MAIL, 1)]
    assert await take(database, NOW_MS + 59_999) == []
    (due,) = await take(database, NOW_MS + 60_000)
    await database.write(lambda tx: mail_outbox.postpone(tx, due, NOW_MS + 5))
    (again,) = await take(database, NOW_MS + 5)
    await database.write(lambda tx: mail_outbox.delivered(tx, again, NOW_MS))
    await database.write(lambda tx: mail_outbox.postpone(tx, due, NOW_MS))  # too late
    assert await take(database, NOW_MS + 10**9) == []
    (row,) = await database.read(lambda tx: tx.fetch("SELECT content FROM mails"))
    assert row["content"] == ""


async def test_the_owner_of_a_key_is_its_teams(database: Database) -> None:
    till = await Till(database).open()
    await till.limit("team:design", owner="Ada")
    await till.limit("key:k1", parent="team:design")
    accounts = ("team:design", "key:k1", "organisation", "team:gone")
    owners = [
        await database.read(partial(mail_outbox.owner_of, account=account)) for account in accounts
    ]
    assert owners == ["Ada", "Ada", "", ""]
