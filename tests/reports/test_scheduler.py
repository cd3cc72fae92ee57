"""Reports by schedule over a real mail server and webhook: once each, with the ledger's numbers."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gateway.alerts.delivery import Delivery
from gateway.alerts.mail_client import MailClient
from gateway.alerts.rules.channels import Channels
from gateway.alerts.rules.mail_addresses import MailAddresses
from gateway.alerts.rules.mail_server import parse_mail_server
from gateway.alerts.tables import mail_outbox
from gateway.alerts.webhook_client import WebhookClient
from gateway.database.migrate import migrate
from gateway.database.sqlite import SqliteDatabase
from gateway.emulator import EmulatorServer
from gateway.model.money import usd
from gateway.reports.scheduler import LEASE_MS, ReportScheduler
from gateway.reports.tables import schedules
from gateway.telemetry.log import EventLog
from gateway.telemetry.metrics import Metrics
from tests.support.funds import CENT, Till, caller
from tests.support.mail_server import DROP, MailServer, receiving_mail
from tests.support.receiver import Receiver, receiving
from tests.support.serving import in_state, make_key, serving, settings_for

FINANCE, ADA = "finance@example.com", "ada@example.com"
DESIGN, PRESS = caller(), caller("press", "k2")
WEBHOOK_TEAM = caller("web", "k3")


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.fixture
def server() -> Iterator[MailServer]:
    with receiving_mail() as made:
        yield made


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@dataclass
class Books:
    """A state in which three teams have spent, and schedulers over it."""

    till: Till
    mail: MailServer
    hooks: Receiver
    now_ms: int = at("2026-11-25T12:00:00")
    log: io.StringIO = field(default_factory=io.StringIO)
    metrics: Metrics = field(default_factory=lambda: Metrics("test"))
    failures: list[BaseException] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)

    def scheduler(self) -> ReportScheduler:
        """Another one, as another process or after a restart."""
        log = EventLog(format="json", level="debug", out=self.log)
        database = self.till.database
        client = MailClient(
            parse_mail_server(self.mail.url()), "gateway@example.com", timeout_seconds=2.0
        )
        delivery = Delivery(
            database=database,
            webhook=WebhookClient(),
            mail=client,
            channels=Channels(
                report_url=self.hooks.url,
                mail=MailAddresses((FINANCE,), frozenset({"example.com"})),
            ),
            metrics=self.metrics,
            log=log,
            now_ms=lambda: self.now_ms,
            on_failure=lambda _, error: self.failures.append(error),
            first_wait_ms=20,
        )
        self.deliveries.append(delivery)
        return ReportScheduler(
            database=database,
            delivery=delivery,
            schedule="monthly",
            finance=(FINANCE,),
            zone=ZoneInfo("UTC"),
            metrics=self.metrics,
            log=log,
            now_ms=lambda: self.now_ms,
        )

    async def delivered(self, number: int) -> None:
        """Deliver, as time goes on, until so many mails were accepted."""
        async with asyncio.timeout(10):
            while self.log.getvalue().count('"mail delivered"') < number:
                await self.deliveries[-1].send_due()
                await asyncio.sleep(0.01)
                self.now_ms += 10


@pytest.fixture
async def books(tmp_path: Path, server: MailServer, receiver: Receiver) -> AsyncIterator[Books]:
    database = SqliteDatabase(tmp_path / "books.db")
    await migrate(database)
    till = await Till(database).open(callers=(DESIGN, PRESS, WEBHOOK_TEAM))
    await till.limit("team:design", owner=f"Ada <{ADA}>")
    await till.limit("team:press", owner="eve@example.org")
    await till.limit("team:web", webhook_url=receiver.url)
    for number, (who, day, nanos) in enumerate(
        [
            (DESIGN, "2026-10-31T23:59:00", 7 * CENT),
            (DESIGN, "2026-11-01T00:00:00", 3 * CENT + 1),
            (DESIGN, "2026-11-30T23:59:00", 4 * CENT),
            (PRESS, "2026-11-15T12:00:00", 5 * CENT),
            (WEBHOOK_TEAM, "2026-11-15T12:00:00", 6 * CENT),
            (PRESS, "2026-12-01T00:00:00", 90 * CENT),
        ]
    ):
        await till.reserve(f"r{number}", nanos, by=who, at=at(day))
        await till.settle(f"r{number}", nanos, at=at(day))
    found = Books(till, server, receiver)
    await found.scheduler().check()  # begins: October is not reported
    yield found
    for delivery in found.deliveries:
        await delivery.close()
    await database.close()
    assert found.failures == []


async def eventually(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.01)


def tables_in(mail: EmailMessage) -> dict[str, list[dict[str, str]]]:
    """The CSV files of a mail, by the dimension in their names."""
    found = {}
    for part in mail.iter_attachments():
        text = part.get_content().removeprefix("\ufeff")
        name = str(part.get_filename()).removeprefix("usage-by-").partition("-")[0]
        found[name] = list(csv.DictReader(io.StringIO(text)))
    return found


async def test_a_month_is_reported_once_over_all_processes(books: Books) -> None:
    books.now_ms = at("2026-12-01T05:59:00")
    await books.scheduler().check()
    assert not await books.till.database.read(lambda tx: tx.fetch("SELECT id FROM mails"))
    books.now_ms = at("2026-12-01T06:00:00")
    await asyncio.gather(*(books.scheduler().check() for _ in range(3)))
    await books.delivered(2)
    await eventually(lambda: len(books.hooks.posts) == 2)
    await books.scheduler().check()  # after a restart
    await books.deliveries[-1].send_due()
    assert sorted(mail["To"] for mail in books.mail.mails) == [ADA, FINANCE]
    posts = {post.message["level"]: post.message for post in books.hooks.posts}
    assert len(books.hooks.posts) == 2
    assert posts["organisation"]["total"]["spent_usd"] == usd(18 * CENT + 1)
    assert posts["team"]["team"] == "web"
    assert posts["team"]["tables"]["key"][0]["spent_usd"] == "0.06"
    assert posts["team"]["event"] == "report.monthly"


async def test_the_numbers_are_the_ledgers_in_every_table(books: Books) -> None:
    books.now_ms = at("2026-12-01T06:00:00")
    await books.scheduler().check()
    await books.delivered(2)
    rows = await books.till.database.read(
        lambda tx: tx.fetch(
            "SELECT team, SUM(cost_nanos) AS nanos FROM ledger "
            "WHERE day BETWEEN '2026-11-01' AND '2026-11-30' GROUP BY team"
        )
    )
    booked = {row["team"]: usd(row["nanos"]) for row in rows}
    whole = usd(sum(row["nanos"] for row in rows))
    mails = {mail["To"]: mail for mail in books.mail.mails}
    tables = tables_in(mails[FINANCE])
    assert set(tables) == {"team", "cost_centre", "model", "day"}
    assert {line["team"]: line["spent_usd"] for line in tables["team"]} == booked
    for mail, spent in ((mails[FINANCE], whole), (mails[ADA], booked["design"])):
        for lines in tables_in(mail).values():
            nanos = sum(round(float(line["spent_usd"]) * 10**9) for line in lines)
            assert usd(nanos) == spent
        html, text = mail.get_body(["html"]), mail.get_body(["plain"])
        assert html is not None
        assert text is not None
        assert html.get_content().count(f">{spent}</td>") >= 3  # the totals
        assert f"spent ${spent} on" in text.get_content()
        assert f"${spent} spent" in mail["Subject"]
    assert "press" not in mails[ADA].as_string()  # a team sees its own alone


async def test_what_ended_while_no_process_ran_is_made_up_for(books: Books) -> None:
    books.now_ms = at("2027-02-10T12:00:00")
    await books.scheduler().check()
    await books.delivered(4)
    days = [subject.split(",")[0] for subject in books.mail.subjects(FINANCE)]
    assert days == [
        "Image edits 2026-11-01 to 2026-11-30",
        "Image edits 2026-12-01 to 2026-12-31",
        "Image edits 2027-01-01 to 2027-01-31",
    ]
    assert len(books.mail.subjects(ADA)) == 1  # her team used nothing since


async def test_a_process_that_died_while_writing_is_replaced_and_nothing_is_repeated(
    books: Books,
) -> None:
    books.now_ms = at("2026-12-01T06:00:00")
    database = books.till.database

    async def die(now_ms: int) -> None:
        """As a process that has the lease, and has not written that it is done."""
        await database.write(
            lambda tx: tx.fetch("UPDATE report_schedules SET through_day = '2026-10-31'")
        )
        assert await database.write(
            lambda tx: schedules.lease(
                tx, "monthly", "2026-10-31", now_ms=now_ms, until_ms=now_ms + LEASE_MS
            )
        )

    await die(books.now_ms)
    await books.scheduler().check()
    assert not await database.read(lambda tx: tx.fetch("SELECT id FROM mails"))
    books.now_ms += LEASE_MS
    await books.scheduler().check()
    await books.delivered(2)
    await die(books.now_ms)
    books.now_ms += LEASE_MS
    await books.scheduler().check()
    await books.deliveries[-1].send_due()
    await books.deliveries[-1].close()
    assert len(books.mail.mails) == 2


async def test_a_process_that_takes_long_keeps_its_lease(books: Books) -> None:
    """Each report takes it most of a lease: no other process begins to write the same."""
    books.now_ms = at("2026-12-01T06:00:00")
    slow, other = books.scheduler(), books.scheduler()

    def now_ms() -> int:
        books.now_ms += LEASE_MS * 2 // 5
        return books.now_ms

    slow.now_ms = now_ms
    writing = asyncio.create_task(slow.check())
    while not writing.done():
        if await books.till.database.read(lambda tx: tx.fetch("SELECT id FROM mails")):
            await other.check()
        await asyncio.sleep(0)
    await writing
    await books.delivered(2)
    assert books.log.getvalue().count('"reports written"') == 1
    await eventually(lambda: len(books.hooks.posts) == 2)


async def test_a_mail_is_sent_until_it_is_accepted_with_one_message_id(books: Books) -> None:
    """The second attempt breaks off after the data: the server has the mail, perhaps."""
    books.mail.replies[:] = ["451 later", "451 later", DROP, DROP]
    books.now_ms = at("2026-12-01T06:00:00")
    await books.scheduler().check()
    await books.delivered(2)
    for recipient in (FINANCE, ADA):
        ids = [mail["Message-ID"] for mail in books.mail.mails if mail["To"] == recipient]
        assert len(ids) == 3
        assert len(set(ids)) == 1
    failures = [
        json.loads(line) for line in books.log.getvalue().splitlines() if "mail failed" in line
    ]
    assert [each["attempt"] for each in failures] == [1, 1, 2, 2]
    counted = b'gateway_mails_total{event="report.monthly",result="delivered"} 2.0'
    assert counted in books.metrics.exposition()[0]


async def test_a_crash_between_acceptance_and_record_sends_the_same_mail_again(
    books: Books,
) -> None:
    books.now_ms = at("2026-12-01T06:00:00")
    await books.till.limit("team:design", owner="")
    scheduler = books.scheduler()
    books.mail.replies[:] = ["451 later"]
    await scheduler.check()
    await eventually(lambda: '"mail failed"' in books.log.getvalue())
    await scheduler.delivery.close()
    (due,) = await books.till.database.write(
        lambda tx: mail_outbox.take_due(tx, now_ms=books.now_ms + 10**4, lease_ms=10, limit=9)
    )
    assert scheduler.delivery.mail
    await scheduler.delivery.mail.send(due.mail)  # and the process dies
    books.now_ms += 2 * 10**4
    books.scheduler()
    await books.delivered(1)
    assert len({mail["Message-ID"] for mail in books.mail.mails}) == 1
    assert len(books.mail.mails) == 3


async def test_an_address_that_is_unknown_is_given_up_at_once(books: Books) -> None:
    books.mail.refused = {ADA: "550 no such user"}
    books.now_ms = at("2026-12-01T06:00:00")
    await books.scheduler().check()
    await books.delivered(1)
    await eventually(lambda: "550 no such user" in books.log.getvalue())
    books.now_ms += 30 * 86_400_000
    await books.deliveries[-1].send_due()
    await books.deliveries[-1].close()
    assert books.mail.subjects(ADA) == []
    assert b'event="report.monthly",result="given_up"} 1.0' in books.metrics.exposition()[0]


def test_two_gateways_that_were_down_send_what_they_missed_once(
    tmp_path: Path, emulator: EmulatorServer, server: MailServer
) -> None:
    more = {
        "reports": {"schedule": "weekly", "smtp_url": server.url(), "to": [FINANCE]},
    }
    settings = settings_for(tmp_path, emulator, more)
    make_key(settings, team_terms={"budget_usd": "1", "owner": ADA})
    in_state(settings, lambda tx: schedules.begin(tx, "weekly", "2020-01-05"))
    with serving(settings), serving(settings):
        server.wait_for(5)
    assert len(server.subjects(FINANCE)) == len(set(server.subjects(FINANCE))) == 5
    assert server.subjects(ADA) == []
