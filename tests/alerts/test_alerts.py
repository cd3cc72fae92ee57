"""Warnings before the wall: notified once, posted, and in nobody's way; over real sockets."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import io
import json
import shutil
import sqlite3
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway.accounts.rules.account_settings import change_settings
from gateway.accounts.tables import teams
from gateway.accounts.tables.audit import Author
from gateway.alerts.budget_monitor import BudgetMonitor
from gateway.alerts.delivery import Delivery
from gateway.alerts.mail_client import MailClient
from gateway.alerts.rules.channels import Channels
from gateway.alerts.rules.mail_addresses import MailAddresses
from gateway.alerts.rules.mail_server import parse_mail_server
from gateway.alerts.webhook_client import WebhookClient
from gateway.database.database import StateUnavailable
from gateway.database.migrate import migrate
from gateway.database.sqlite import SqliteDatabase
from gateway.emulator import EmulatorServer
from gateway.ledger.rules.budget import OverBudget
from gateway.ledger.tables import corrections, price_status
from gateway.settings import Settings, load
from gateway.telemetry.log import EventLog
from gateway.telemetry.metrics import Metrics
from tests.deploy.fronts import certificate
from tests.support.funds import CALLER, CENT, DAY_MS, NOW_MS, Till
from tests.support.mail_server import MailServer, receiving_mail
from tests.support.receiver import Receiver, receiving
from tests.support.serving import (
    GatewayProcess,
    Overrides,
    Running,
    in_state,
    make_key,
    serving,
    tables_of,
)
from tests.support.waiting import until

SECRET = "whsec-0123456789"
TEAM, KEY = "team:design", "key:k1"
OPERATOR, ADA, GRACE = "operator@example.com", "ada@example.com", "grace@example.com"
ADDRESSES = MailAddresses((OPERATOR,), frozenset({"example.com"}))
CONSOLE = "https://images.example.com/console"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@dataclass
class Books:
    """A state, and watches over it that look when they are notified to."""

    till: Till
    now_ms: int = NOW_MS
    log: io.StringIO = field(default_factory=io.StringIO)
    metrics: Metrics = field(default_factory=lambda: Metrics("test"))
    troubles: list[BaseException] = field(default_factory=list)
    watches: list[BudgetMonitor] = field(default_factory=list)

    def watch(
        self,
        url: str = "",
        percents: tuple[int, ...] = (50, 80, 100),
        console_url: str = "",
        mail: MailServer | None = None,
    ) -> BudgetMonitor:
        """Another watch, as another process or after a restart."""
        log = EventLog(format="json", level="debug", out=self.log)
        database = self.till.database
        delivery = Delivery(
            database=database,
            webhook=WebhookClient(secret=SECRET, timeout_seconds=1.0),
            mail=MailClient(parse_mail_server(mail.url()), OPERATOR) if mail else None,
            channels=Channels(url, mail=ADDRESSES if mail else None),
            console_url=console_url,
            metrics=self.metrics,
            log=log,
            now_ms=lambda: self.now_ms,
            on_failure=lambda _, error: self.troubles.append(error),
            first_wait_ms=20,
        )
        made = BudgetMonitor(
            database=database,
            delivery=delivery,
            percents=percents,
            zone=ZoneInfo("UTC"),
            metrics=self.metrics,
            log=log,
            now_ms=lambda: self.now_ms,
            on_failure=lambda _, error: self.troubles.append(error),
        )
        self.watches.append(made)
        return made

    async def spend(self, number: int, nanos: int = CENT) -> None:
        await self.till.reserve(f"r{number}", nanos, at=self.now_ms)
        await self.till.settle(f"r{number}", nanos, at=self.now_ms)

    def lines(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log.getvalue().splitlines()]
        return [line for line in lines if line["event"] == event]

    @property
    def notified(self) -> list[tuple[str, int]]:
        return [(line["account"], line["percent"]) for line in self.lines("budget mark passed")]


@pytest.fixture
async def books(tmp_path: Path) -> AsyncIterator[Books]:
    """The team `design` may spend ten cents a month."""
    database = SqliteDatabase(tmp_path / "books.db", busy_seconds=0.1)
    await migrate(database)
    till = await Till(database).open(callers=(CALLER,))
    await till.limit(TEAM, budget_nanos=10 * CENT, budget_period="month")
    found = Books(till)
    yield found
    for watch in found.watches:
        await watch.close()
    await database.close()
    assert found.troubles == []


# --- what is notified ---------------------------------------------------------------------


async def test_each_mark_is_told_when_it_is_passed_and_not_again(books: Books) -> None:
    watch = books.watch()
    notified = []
    for number in range(10):
        await books.spend(number)
        await watch.check()
        await watch.check()
        notified.append(len(books.notified))
    assert notified == [0, 0, 0, 0, 1, 1, 1, 2, 2, 3]
    assert books.notified == [(TEAM, 50), (TEAM, 80), (TEAM, 100)]


async def test_the_journal_and_a_metric_say_it_where_there_is_no_webhook(books: Books) -> None:
    watch = books.watch()
    await books.spend(1, 6 * CENT)
    await watch.check()
    (line,) = books.lines("budget mark passed")
    assert (line["level"], line["spent_usd"], line["limit_usd"]) == ("warning", "0.06", "0.10")
    assert line["webhook"] is False
    assert (
        b'gateway_warnings_total{percent="50",result="passed"} 1.0' in books.metrics.exposition()[0]
    )


async def test_one_purchase_may_pass_several_marks(books: Books) -> None:
    watch = books.watch()
    await books.spend(1, 9 * CENT)
    await watch.check()
    assert books.notified == [(TEAM, 50), (TEAM, 80)]


async def test_a_restart_repeats_nothing_and_misses_nothing(books: Books) -> None:
    await books.spend(1, 6 * CENT)
    await books.watch().check()
    await books.spend(2, 3 * CENT)
    await books.watch().check()
    assert books.notified == [(TEAM, 50), (TEAM, 80)]


async def test_a_new_window_begins_anew(books: Books) -> None:
    watch = books.watch()
    await books.spend(1, 6 * CENT)
    await watch.check()
    books.now_ms += 31 * 86_400_000
    await watch.check()
    assert books.notified == [(TEAM, 50)]
    await books.spend(2, 6 * CENT)
    await watch.check()
    assert books.notified == [(TEAM, 50), (TEAM, 50)]


async def test_with_another_limit_marks_count_anew_and_going_back_repeats_nothing(
    books: Books,
) -> None:
    async def limit(cents: int) -> None:
        given = {"budget_usd": f"0.{cents:02}"}
        await books.till.database.write(
            lambda tx: teams.update_team(
                tx,
                "design",
                lambda terms: change_settings(terms, "team", given),
                Author("t", NOW_MS),
            )
        )
        await watch.check()

    watch = books.watch()
    await books.spend(1, 6 * CENT)
    await watch.check()
    await limit(20)
    assert books.notified == [(TEAM, 50)]
    await limit(10)
    assert books.notified == [(TEAM, 50)]
    await limit(7)
    assert books.notified == [(TEAM, 50), (TEAM, 50), (TEAM, 80)]


async def test_marks_of_a_teams_own_are_used_for_it_and_its_keys(books: Books) -> None:
    await books.till.limit(TEAM, warn_percents="[10]")
    await books.till.limit(KEY, budget_nanos=5 * CENT, budget_period="day", parent=TEAM)
    await books.till.limit("organisation", budget_nanos=2 * CENT, budget_period="total")
    watch = books.watch()
    await books.spend(1)
    await watch.check()
    assert sorted(books.notified) == [(KEY, 10), ("organisation", 50), (TEAM, 10)]


async def test_a_correction_counts_like_a_purchase(books: Books) -> None:
    watch = books.watch()
    await books.spend(1)
    await watch.check()
    await books.till.database.write(
        lambda tx: corrections.correct(tx, "req-r1", 5 * CENT, Author("t", NOW_MS))
    )
    await watch.check()
    assert books.notified == [(TEAM, 50)]


async def test_money_that_is_only_held_passes_no_mark(books: Books) -> None:
    watch = books.watch()
    await books.till.reserve("held", 10 * CENT)
    await watch.check()
    assert books.notified == []


async def test_a_budget_that_had_to_refuse_an_edit_is_told_as_used_up(books: Books) -> None:
    watch = books.watch()
    await books.spend(1, 9 * CENT)
    await watch.check()
    with pytest.raises(OverBudget) as over:
        await books.till.reserve("too much", 2 * CENT)
    watch.refused(over.value, CALLER)
    watch.refused(over.value, CALLER)
    await watch.check()
    watch.refused(over.value, CALLER)
    await watch.check()
    assert books.notified == [(TEAM, 50), (TEAM, 80), (TEAM, 100)]
    assert books.lines("budget mark passed")[-1]["refused"] is True


async def test_a_refusal_for_too_many_pictures_says_nothing_of_the_budget(books: Books) -> None:
    await books.till.limit(TEAM, paid_images_per_day=0)
    watch = books.watch()
    with pytest.raises(OverBudget) as over:
        await books.till.reserve("a")
    watch.refused(over.value, CALLER)
    await watch.check()
    assert books.notified == []


async def test_of_two_watches_on_one_state_one_tells(books: Books) -> None:
    watches = books.watch(), books.watch()
    for number in range(10):
        await books.spend(number)
        await asyncio.gather(*(watch.check() for watch in watches))
    assert books.notified == [(TEAM, 50), (TEAM, 80), (TEAM, 100)]


async def test_a_look_that_the_state_refuses_is_made_up_for_by_the_next(
    books: Books, tmp_path: Path
) -> None:
    watch = books.watch()
    await books.spend(1, 6 * CENT)
    other = sqlite3.connect(tmp_path / "books.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StateUnavailable):
        await watch.check()
    assert books.notified == []
    other.execute("ROLLBACK")
    other.close()
    await watch.check()
    assert books.notified == [(TEAM, 50)]


# --- what is posted -------------------------------------------------------------------


async def eventually(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.01)


async def settled(books: Books, watch: BudgetMonitor, *, delivered: int) -> None:
    """Look, as time goes on, until so many posts were accepted."""
    async with asyncio.timeout(10):
        while len(books.lines("webhook delivered")) < delivered:
            await watch.check()
            await asyncio.sleep(0.01)
            books.now_ms += 10


async def test_a_webhook_that_fails_twice_is_tried_until_it_accepts(books: Books) -> None:
    with receiving(500, 429) as receiver:
        watch = books.watch(receiver.url)
        await books.spend(1, 6 * CENT)
        await settled(books, watch, delivered=1)
        books.now_ms += 10 * 3_600_000
        await watch.check()
        await asyncio.sleep(0.05)
    assert [post.status for post in receiver.posts] == [500, 429, 200]
    assert len({post.headers["x-gateway-delivery"] for post in receiver.posts}) == 1
    assert [line["attempt"] for line in books.lines("webhook failed")] == [1, 2]


async def test_a_post_is_signed_readable_and_says_everything(
    books: Books, receiver: Receiver
) -> None:
    watch = books.watch(receiver.url)
    await books.spend(1, 6 * CENT)
    await settled(books, watch, delivered=1)
    (post,) = receiver.posts
    proof = hmac.new(SECRET.encode(), post.body, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(post.headers["x-gateway-signature"], f"sha256={proof}")
    message = post.message
    assert message.pop("id") == post.headers["x-gateway-delivery"]
    assert message.pop("sent_at")
    assert message == {
        "text": "The team design has spent $0.06 of $0.10 this month (60 %): the 50 % mark is "
        "passed. The budget resets at 2026-12-01T00:00:00Z.",
        "event": "budget.mark_passed",
        "at": "2026-11-25T12:00:00Z",
        "level": "team",
        "account": TEAM,
        "name": "design",
        "team": "design",
        "percent": 50,
        "limit_usd": "0.10",
        "spent_usd": "0.06",
        "held_usd": "0",
        "left_usd": "0.04",
        "period": "month",
        "window": "2026-11-01",
        "resets_at": "2026-12-01T00:00:00Z",
        "refused": False,
    }


async def test_the_teams_own_webhook_is_asked_before_the_usual_one(
    books: Books, receiver: Receiver
) -> None:
    with receiving() as usual:
        await books.till.limit(TEAM, webhook_url=receiver.url)
        await books.till.limit("organisation", budget_nanos=10 * CENT, budget_period="total")
        watch = books.watch(usual.url)
        await books.spend(1, 6 * CENT)
        await settled(books, watch, delivered=2)
    assert [post.message["account"] for post in receiver.posts] == [TEAM]
    assert [post.message["account"] for post in usual.posts] == ["organisation"]


async def test_marks_arrive_in_their_order(books: Books, receiver: Receiver) -> None:
    watch = books.watch(receiver.url)
    for number, nanos in enumerate((5 * CENT, 3 * CENT, 2 * CENT)):
        await books.spend(number, nanos)
        await settled(books, watch, delivered=number + 1)
    assert [post.message["percent"] for post in receiver.posts] == [50, 80, 100]


async def test_marks_that_are_passed_at_once_make_one_post(
    books: Books, receiver: Receiver
) -> None:
    """It names the owner, and where to look."""
    await books.till.limit(TEAM, owner="Ada")
    watch = books.watch(receiver.url, console_url="https://images.example.com/console")
    await books.spend(1, 10 * CENT)
    await settled(books, watch, delivered=1)
    await watch.check()
    (post,) = receiver.posts
    assert (post.message["percent"], post.message["owner"]) == (100, "Ada")
    assert post.message["url"] == "https://images.example.com/console/budgets"
    assert post.message["text"].endswith(f" See {post.message['url']}.")
    assert [line["percent"] for line in books.lines("budget mark passed")] == [50, 80, 100]


async def test_a_webhook_that_is_taken_away_ends_the_attempts(books: Books) -> None:
    with receiving(*[500] * 20) as receiver:
        await books.till.limit(TEAM, webhook_url=receiver.url)
        watch = books.watch()
        await books.spend(1, 6 * CENT)
        while not books.lines("webhook failed"):
            await watch.check()
            await asyncio.sleep(0.01)
        await books.till.limit(TEAM, webhook_url="")
        while len(books.lines("webhook failed")) < 2:
            books.now_ms += 3_600_000
            await watch.check()
            await asyncio.sleep(0.01)
    assert "next_try_at" not in {
        name: value
        for name, value in books.lines("webhook failed")[-1].items()
        if value is not None
    }


async def test_a_webhook_that_stays_dead_is_given_up_in_the_end(books: Books) -> None:
    with receiving(*[500] * 50) as receiver:
        watch = books.watch(receiver.url)
        await books.spend(1, 6 * CENT)
        for attempt in range(1, 11):
            while len(books.lines("webhook failed")) < attempt:
                await watch.check()
                await asyncio.sleep(0.005)
            # The clock moves between attempts only: one that took hours would be made again.
            if again := books.lines("webhook failed")[-1]["next_try_at"]:
                books.now_ms = int(datetime.fromisoformat(again).timestamp() * 1000) + 1_000
        books.now_ms += 30 * DAY_MS
        await watch.check()
        await asyncio.sleep(0.05)
    assert len(receiver.posts) == 10
    assert b'percent="50",result="given_up"} 1.0' in books.metrics.exposition()[0]


async def test_a_silent_webhook_does_not_keep_others_waiting(
    books: Books, receiver: Receiver
) -> None:
    with receiving() as silent:
        silent.silent.set()
        await books.till.limit(TEAM, webhook_url=silent.url)
        await books.till.limit("organisation", budget_nanos=10 * CENT, budget_period="total")
        watch = books.watch(receiver.url)
        await books.spend(1, 6 * CENT)
        started = time.monotonic()
        await settled(books, watch, delivered=1)
        assert time.monotonic() - started < 0.9
        silent.released.set()
    assert [post.message["account"] for post in receiver.posts] == ["organisation"]


async def test_the_webhooks_address_is_written_nowhere(books: Books) -> None:
    with receiving(500) as receiver:
        await books.till.limit(TEAM, webhook_url=receiver.url)
        watch = books.watch()
        await books.spend(1, 6 * CENT)
        await settled(books, watch, delivered=1)
    assert "secret-path" not in books.log.getvalue()
    assert b"secret-path" not in books.metrics.exposition()[0]


# --- with whole gateways --------------------------------------------------------------


async def test_each_cause_makes_one_post_over_all_processes(
    books: Books, receiver: Receiver
) -> None:
    """It is the 25th: 18 of 24 days' rate exceeds the budget, and today is far above any day."""
    till = books.till
    await till.limit(TEAM, budget_nanos=1_000 * CENT, owner="Ada", warn_percents="[]")
    await till.limit("organisation", webhook_url=receiver.url)
    for day, nanos in ((3, 100 * CENT), (2, 110 * CENT), (1, 120 * CENT), (0, 600 * CENT)):
        at = NOW_MS - day * DAY_MS
        await till.reserve(f"r{day}", nanos, at=at)
        await till.settle(f"r{day}", nanos, at=at)
    await till.database.write(
        lambda tx: price_status.stop(tx, "deepshi", "deepshi-image-1", 5 * CENT, NOW_MS, "design")
    )
    first, second = (books.watch(console_url=CONSOLE) for _ in range(2))
    await asyncio.gather(first.check(), second.check())
    await settled(books, first, delivered=3)
    await second.check()
    await books.watch().check()  # after a restart
    events = {post.message["event"]: post.message for post in receiver.posts}
    assert len(receiver.posts) == len(events) == 3
    forecast, unusual = events["budget.forecast"], events["spending.unusual"]
    assert (forecast["name"], forecast["owner"], forecast["spent_usd"]) == ("design", "Ada", "9.30")
    assert float(forecast["forecast_usd"]) > 10
    assert unusual["text"] == (
        "The team design has spent $6.00 today, more than 3 times the $1.20 of its highest day in "
        f"the 14 days before. See {CONSOLE}/spend."
    )
    stopped = events["price.stopped"]
    assert (stopped["cost_usd"], stopped["team"], stopped["owner"]) == ("0.05", "design", "Ada")
    assert stopped["url"] == f"{CONSOLE}/operations"


async def test_an_alert_is_mailed_to_the_owner_else_to_the_organisation(books: Books) -> None:
    """Once over all watches; the mail says what the post says."""
    await books.till.limit(TEAM, owner=f"Ada <{ADA}>", warn_percents="[50]")
    await books.till.limit(
        "organisation", budget_nanos=6 * CENT, budget_period="total", owner=f"Grace <{GRACE}>"
    )
    with receiving_mail("451 later") as server:
        watches = [books.watch(console_url=CONSOLE, mail=server) for _ in range(2)]
        await books.spend(1, 6 * CENT)
        await asyncio.gather(*(watch.check() for watch in watches))
        async with asyncio.timeout(10):
            while len(books.lines("mail delivered")) < 2:
                await watches[0].check()
                await asyncio.sleep(0.01)
                books.now_ms += 10
        await watches[1].check()
    assert len(server.mails) == 3  # one was refused for now
    assert set(server.subjects(ADA)) == {
        "The team design has spent $0.06 of $0.10 this month (60 %): the 50 % mark is passed."
    }
    assert set(server.subjects(OPERATOR)) == {
        "The organisation has spent $0.06 of $0.06 (100 %): the 100 % mark is passed."
    }
    for recipient, facts in (
        (ADA, ["team", "design", f"Ada &lt;{ADA}&gt;"]),
        (OPERATOR, ["organisation", f"Grace &lt;{GRACE}&gt;"]),
    ):
        mail = next(mail for mail in server.mails if mail["To"] == recipient)
        body = mail.get_body(["html"])
        assert body is not None
        html = body.get_content()
        for said in (f'href="{CONSOLE}/budgets"', ">0.06<", *(f">{fact}<" for fact in facts)):
            assert said in html
    assert [line["to"] for line in books.lines("mail delivered")] in (
        [ADA, OPERATOR],
        [OPERATOR, ADA],
    )


async def test_a_refusal_is_told_where_no_threshold_tells_it(
    books: Books, receiver: Receiver
) -> None:
    """The organisation's budget refuses: the post names the team that asked."""
    await books.till.limit("organisation", budget_nanos=2 * CENT, budget_period="month")
    await books.till.limit("organisation", warn_percents="[]")
    watch = books.watch(receiver.url, console_url=CONSOLE)
    await books.spend(1)
    for name in ("first", "second"):
        with pytest.raises(OverBudget) as over:
            await books.till.reserve(name, 2 * CENT)
        watch.refused(over.value, CALLER)
        await watch.check()
    await settled(books, watch, delivered=1)
    await books.watch(receiver.url).check()
    (post,) = receiver.posts
    message = post.message
    assert (message["event"], message["team"], message["owner"]) == (
        "budget.refused",
        "design",
        "ann",
    )
    assert (message["needed_usd"], message["left_usd"]) == ("0.02", "0.01")
    assert message["text"] == (
        "An edit of the team design was refused: it needs $0.02, and $0.01 is left of the $0.02 of "
        f"the organisation. See {CONSOLE}/budgets."
    )


async def test_unusual_spending_of_a_team_without_a_budget_is_told(
    books: Books, receiver: Receiver
) -> None:
    await books.till.limit(TEAM, budget_nanos=None, budget_period=None, webhook_url=receiver.url)
    for day, nanos in ((3, 100 * CENT), (2, 110 * CENT), (1, 120 * CENT), (0, 600 * CENT)):
        at = NOW_MS - day * DAY_MS
        await books.till.reserve(f"r{day}", nanos, at=at)
        await books.till.settle(f"r{day}", nanos, at=at)
    watch = books.watch()
    await settled(books, watch, delivered=1)
    assert [post.message["event"] for post in receiver.posts] == ["spending.unusual"]


def tables(folder: Path, emulator: EmulatorServer, receiver: Receiver) -> Overrides:
    more = {"warnings": {"webhook_url": receiver.url, "secret": SECRET}}
    return tables_of(folder, emulator, more)


def warned(folder: Path, emulator: EmulatorServer, receiver: Receiver) -> Settings:
    """A gateway whose team `design` may buy four pictures, with that receiver as webhook."""
    settings = load(environment={}, overrides=tables(folder, emulator, receiver))
    make_key(settings, team_terms={"budget_usd": "0.04", "budget_period": "day"})
    return settings


def test_two_gateway_processes_on_one_state_deliver_each_mark_once(
    tmp_path: Path, emulator: EmulatorServer, receiver: Receiver
) -> None:
    warned(tmp_path, emulator, receiver)
    with ThreadPoolExecutor(4) as pool, ExitStack() as stack:
        started = pool.map(
            lambda name: GatewayProcess(tables(tmp_path, emulator, receiver), tmp_path / name),
            ("first", "second"),
        )
        gateways = [stack.enter_context(each) for each in started]
        answers = pool.map(lambda n: gateways[n % 2].edit(f"number {n}").status_code, range(4))
        assert list(answers) == [200] * 4
        until(lambda: 100 in [post.message["percent"] for post in receiver.posts])
        time.sleep(1.5)  # long enough for the other one to look as well
    percents = [post.message["percent"] for post in receiver.posts]
    assert len(set(percents)) == len(percents)  # marks passed at once make one post


def test_a_mark_is_told_within_seconds_of_the_purchase_that_passed_it(
    tmp_path: Path, emulator: EmulatorServer, receiver: Receiver
) -> None:
    with serving(warned(tmp_path, emulator, receiver)) as gateway:
        assert gateway.edit("one").status_code == gateway.edit("two").status_code == 200
        (post,) = receiver.wait_for(1, seconds=5.0)
    proof = hmac.new(SECRET.encode(), post.body, hashlib.sha256).hexdigest()
    assert post.headers["x-gateway-signature"] == f"sha256={proof}"
    assert (post.message["percent"], post.message["spent_usd"]) == (50, "0.02")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
@pytest.mark.parametrize("trusted", [True, False])
def test_a_webhook_is_trusted_by_the_ca_bundle(
    tmp_path: Path, emulator: EmulatorServer, trusted: bool
) -> None:
    chain, key = certificate(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(chain, key)
    with receiving(tls=tls) as receiver:
        settings = warned(tmp_path, emulator, receiver)
        bundle = settings.upstream.model_copy(update={"ca_bundle": str(chain) if trusted else ""})
        with serving(settings.model_copy(update={"upstream": bundle})) as gateway:
            assert gateway.edit("one").status_code == gateway.edit("two").status_code == 200
            if trusted:
                assert receiver.wait_for(1)
            else:
                until(lambda: "ConnectError" in gateway.log.getvalue())


def test_a_refused_edit_tells_that_the_budget_is_used_up(
    tmp_path: Path, emulator: EmulatorServer, receiver: Receiver
) -> None:
    settings = warned(tmp_path, emulator, receiver)

    async def lower(tx: Any) -> None:
        given = {"budget_usd": "0.005"}
        await teams.update_team(
            tx, "design", lambda t: change_settings(t, "team", given), Author("t", NOW_MS)
        )

    in_state(settings, lower)
    with serving(settings) as gateway:
        assert gateway.edit().json()["error"]["code"] == "insufficient_quota"
        (post,) = receiver.wait_for(1, seconds=5.0)
    assert (post.message["percent"], post.message["refused"]) == (100, True)


def test_a_dead_webhook_slows_no_edit(
    tmp_path: Path, emulator: EmulatorServer, receiver: Receiver
) -> None:
    receiver.silent.set()
    with serving(warned(tmp_path, emulator, receiver)) as gateway:
        assert gateway.edit("one").status_code == gateway.edit("two").status_code == 200
        assert receiver.hanging.wait(10)
        slowest = max(_seconds(gateway, "three"), _seconds(gateway, "three"))
        receiver.released.set()
    assert receiver.posts == []
    assert slowest < 2.0


def _seconds(gateway: Running, prompt: str) -> float:
    started = time.monotonic()
    assert gateway.edit(prompt).status_code == 200
    return time.monotonic() - started


def test_a_gateway_with_a_dead_webhook_still_stops_soon(
    tmp_path: Path, emulator: EmulatorServer, receiver: Receiver
) -> None:
    receiver.silent.set()
    with serving(warned(tmp_path, emulator, receiver)) as gateway:
        assert gateway.edit("one").status_code == gateway.edit("two").status_code == 200
        assert receiver.hanging.wait(10)
        started = time.monotonic()
    assert time.monotonic() - started < 6.0


def test_what_a_gateway_could_not_post_the_next_one_does(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    with receiving(500) as receiver:
        settings = warned(tmp_path, emulator, receiver)
        with serving(settings) as gateway:
            assert gateway.edit("one").status_code == gateway.edit("two").status_code == 200
        assert [post.status for post in receiver.posts] == [500]
        with serving(settings):
            assert len(receiver.wait_for(1, seconds=8.0)) == 1
    assert len(receiver.posts) == 2
