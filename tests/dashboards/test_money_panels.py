"""The money on the dashboards is the ledger's, whatever happens to the processes that book it."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from math import ceil, floor

import httpx
import pytest

from gateway.database.database import Row, Transaction
from gateway.emulator import EmulatorServer
from gateway.model.money import NANOS
from gateway.settings import Settings
from tests.dashboards import organisation
from tests.dashboards.asking import Window, panels, queries
from tests.dashboards.organisation import BASIC, COLLAGE, SOLO, TEAMS, secret
from tests.dashboards.prometheus import (
    TOKEN,
    Prometheus,
    Series,
    free_port,
    needs_prometheus,
    scraping,
)
from tests.support.exposition import nanos
from tests.support.serving import GatewayProcess, in_state
from tests.support.upstreams import png
from tests.support.waiting import until

pytestmark = needs_prometheus
DOLLARS = "currencyUSD"


COMPARED = {
    "Spent", "Saved", "Cost per picture", "Spent by team", "Saved by cause", "Teams", "Budgets",
    "Budget left", "Keys by cost", "Keys by savings", "Models by cost",
    "Cost per picture by model", "Estimated costs", "Teams and the period before",
    "Keys and the period before",
}  # fmt: skip
"""Panels in dollars, compared below."""


@dataclass
class Books:
    """What Prometheus has seen of two gateways, and what the state says at the end."""

    prometheus: Prometheus
    window: Window
    ledger: list[Row]
    usage: list[Row]
    first_booked_at: float
    scraped_at: float
    killed_at: float

    def since(self, moment: float) -> Window:
        """From at most a second after this moment; a range is in whole seconds."""
        return Window(self.window.end - floor(self.window.end - moment), self.window.end)

    def panel(self, title: str, ref: str = "A", window: Window | None = None) -> list[Series]:
        name = f"spend: {title} {ref}"
        (query,) = (each for each in queries("spend") if each.name == name)
        return list((window or self.window).ask(self.prometheus, query))

    def figure(self, title: str, window: Window | None = None) -> float:
        (found,) = self.panel(title, window=window)
        return found.last

    def by(
        self, title: str, label: str, ref: str = "A", window: Window | None = None
    ) -> dict[str, object]:
        """The panel's figures that are not 0, to be compared approximately."""
        found = self.panel(title, ref, window)
        return {each.labels.get(label, ""): pytest.approx(each.last) for each in found if each.last}

    def bars(self, title: str, label: str) -> dict[str, float]:
        """The sums of bars over time."""
        sums = {s.labels[label]: sum(value for _, value in s.points) for s in self.panel(title)}
        return {name: dollars for name, dollars in sums.items() if dollars}

    def booked(
        self, label: str, rows: str = "ledger", money: str = "cost_nanos", per: int = NANOS
    ) -> dict[str, float]:
        sums: defaultdict[str, int] = defaultdict(int)
        for row in getattr(self, rows):
            sums[row[label]] += row[money]
        return {name: number / per for name, number in sums.items() if number}

    def cost_per_picture(self, label: str) -> dict[str, float]:
        spent, pictures = self.booked(label), self.booked(label, money="images", per=1)
        return {name: spent[name] / pictures[name] for name in spent}


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Books]:
    """Money spent before the first scrape, around a restart, and right before a kill -9."""
    folder = tmp_path_factory.mktemp("books")
    with ExitStack() as stack:
        starts = stack.enter_context(ThreadPoolExecutor())
        emulator = stack.enter_context(EmulatorServer())
        tables = organisation.tables(folder, emulator)
        settings = organisation.found(folder, emulator)
        ports = {name: free_port() for name in ("one", "two")}

        def serve(name: str) -> GatewayProcess:
            server = {**tables["server"], "port": ports[name]}
            return stack.enter_context(GatewayProcess({**tables, "server": server}, folder / name))

        one, two = starts.map(serve, ("one", "two"))
        start = time.time()
        _edit(one, "figma", "before the first scrape")
        first_booked = time.time()
        prometheus = stack.enter_context(scraping([one, two], folder / "prometheus"))
        _edit(two, "notebook", "on the other gateway", model=SOLO)
        _edit(one, "notebook", "on the other gateway", model=SOLO)
        _wait_for_a_scrape(prometheus, up=2)
        scraped_at = time.time()
        one.stop()
        _edit(two, "figma", "while one is down")
        emulator.order({"cost": "missing"})
        _edit(two, "film", "without a cost", model=COLLAGE)
        two.kill()
        killed_ms = time.time() * 1000
        one, two = starts.map(serve, ("one", "two"))
        _edit(two, "figma", "before the first scrape")
        _edit(two, "batch", "after the kill", model=SOLO)
        until(lambda: not _rows(settings, "SELECT id FROM reservations"), seconds=30)
        # A kill loses the last batch of usage rows, and never money.
        last = "SELECT at_ms FROM usage_rows ORDER BY at_ms DESC LIMIT 2"
        until(lambda: all(row["at_ms"] > killed_ms for row in _rows(settings, last)), seconds=30)
        ledger = _rows(
            settings, "SELECT team, key_id, model, cost_nanos, images, estimated FROM ledger"
        )
        usage = _rows(settings, "SELECT team, key_id, cause, saved_nanos FROM usage_rows")
        until(lambda: all(_reports(each, ledger, usage) for each in (one, two)), seconds=30)
        _wait_for_a_scrape(prometheus, up=2)
        until(lambda: time.time() - scraped_at > scraped_at - start + 2)
        end = time.time()
        start = end - ceil(end - start)
        one.kill()
        two.kill()
        _wait_for_a_scrape(prometheus, up=0)
        yield Books(
            prometheus, Window(start, end), ledger, usage, first_booked, scraped_at, time.time()
        )


def _reports(gateway: GatewayProcess, ledger: Sequence[Row], usage: Sequence[Row]) -> bool:
    """Whether the gateway has read these books."""
    with gateway.client(key=TOKEN) as client:
        text = client.get("/metrics").text
    sums = [nanos(text, f"gateway_ledger_{name}_dollars") for name in ("spent", "saved")]
    booked = [sum(row["cost_nanos"] for row in ledger), sum(row["saved_nanos"] for row in usage)]
    return sums == booked


def _wait_for_a_scrape(prometheus: Prometheus, up: int) -> None:
    """Wait for one scrape of each gateway; `up` are reached."""
    now = time.time()

    def scraped() -> bool:
        found = prometheus.instant("timestamp(up)", time.time())
        return len(found) == 2 and all(each.last > now for each in found)

    until(scraped)
    (found,) = prometheus.instant("sum(up)", time.time())
    assert found.last == up


def _edit(gateway: GatewayProcess, key: str, prompt: str, **fields: str) -> None:
    answer = httpx.post(
        f"{gateway.base_url}/images/edits",
        headers={"authorization": f"Bearer {secret(key)}"},
        data={"model": BASIC, "prompt": prompt, **fields},
        files={"image": ("i.png", png(64, 64))},
        timeout=60,
        trust_env=False,
    )
    assert answer.status_code == 200, answer.text


def _rows(settings: Settings, query: str) -> list[Row]:
    async def read(tx: Transaction) -> list[Row]:
        return list(await tx.fetch(query))

    return in_state(settings, read)


def test_totals_are_the_ledger_s(books: Books) -> None:
    spent = sum(row["cost_nanos"] for row in books.ledger) / NANOS
    saved = sum(row["saved_nanos"] for row in books.usage) / NANOS
    pictures = sum(row["images"] for row in books.ledger)
    estimated = sum(row["cost_nanos"] for row in books.ledger if row["estimated"]) / NANOS
    assert min(spent, saved, pictures, estimated) > 0

    assert books.figure("Spent") == pytest.approx(spent)
    assert books.figure("Saved") == pytest.approx(saved)
    assert books.figure("Saved share") == pytest.approx(saved / (saved + spent))
    assert books.figure("Paid pictures") == pictures
    assert books.figure("Cost per picture") == pytest.approx(spent / pictures)
    assert books.figure("Estimated share") == pytest.approx(estimated / spent)


def test_teams_keys_and_models_are_the_ledger_s(books: Books) -> None:
    teams, keys = books.booked("team"), books.booked("key_id")

    assert books.by("Teams", "team") == teams
    assert books.by("Teams", "team", "B") == books.booked("team", "usage", "saved_nanos")
    assert books.by("Teams", "team", "C") == books.booked("team", money="images", per=1)
    assert books.by("Teams", "team", "D") == books.cost_per_picture("team")
    assert books.by("Keys by cost", "key") == keys
    assert books.by("Keys by savings", "key") == books.booked("key_id", "usage", "saved_nanos")
    assert books.by("Models by cost", "model") == books.booked("model")
    assert books.by("Cost per picture by model", "model") == books.cost_per_picture("model")


def test_budgets_have_spent_what_the_ledger_has(books: Books) -> None:
    spent = books.booked("team")
    limits = {team: float(str(terms["budget_usd"])) for team, terms in TEAMS.items()}
    limits[""] = 50  # the organisation
    spent_of = {**dict.fromkeys(limits, 0.0), **spent, "": sum(spent.values())}
    left = {team: limit - spent_of[team] for team, limit in limits.items()}

    assert books.by("Budgets", "team") == limits
    assert books.by("Budgets", "team", "B") == {"": sum(spent.values()), **spent}
    assert books.by("Budgets", "team", "C") == {}
    assert books.by("Budgets", "team", "D") == left
    assert books.by("Budget left", "team") == {team: left[team] for team in TEAMS}


def test_a_period_and_the_one_before_add_up(books: Books) -> None:
    second_half = books.since(books.scraped_at)
    for title, label in (("Teams", "team"), ("Keys", "key")):
        of = f"{title} and the period before"
        now, earlier, change = (
            {each.labels[label]: each.last for each in books.panel(of, ref, second_half)}
            for ref in "ABC"
        )
        whole = books.booked("team" if label == "team" else "key_id")
        assert {name: now[name] + earlier[name] for name in now} == pytest.approx(whole)
        assert change == pytest.approx({name: now[name] - earlier[name] for name in now})
        assert min(sum(now.values()), sum(earlier.values())) > 0


def test_a_prometheus_that_is_younger_misses_what_was_before_it_alone(books: Books) -> None:
    """As after an upgrade; sums that begin later have been 0."""
    spent = books.booked("team")
    spent["design"] -= 0.01

    assert books.by("Teams", "team", window=books.since(books.first_booked_at)) == spent


def test_money_is_still_shown_once_no_gateway_is_up(books: Books) -> None:
    later = Window(books.window.start, books.killed_at)
    spent = books.booked("key_id")

    assert books.figure("Spent", later) == pytest.approx(sum(spent.values()))
    assert books.by("Keys by cost", "key", window=later) == spent


def test_keys_have_their_names(books: Books) -> None:
    assert set(books.by("Keys by cost", "name")) == {"figma", "notebook", "film", "batch"}


@pytest.mark.parametrize(
    ("title", "label", "rows", "money"),
    [
        ("Spent by team", "team", "ledger", "cost_nanos"),
        ("Saved by cause", "cause", "usage", "saved_nanos"),
    ],
)
def test_bars_over_time_add_up_to_the_total(
    books: Books, title: str, label: str, rows: str, money: str
) -> None:
    booked = books.booked(label, rows, money)
    if label == "team":
        booked["design"] -= 0.01  # before the first scrape: in no bar

    assert books.bars(title, label) == pytest.approx(booked)


def test_bars_of_estimates_are_the_ledger_s(books: Books) -> None:
    estimates = [row for row in books.ledger if row["estimated"]]
    (estimate,) = estimates

    assert books.bars("Estimated costs", "team") == pytest.approx(
        {estimate["team"]: estimate["cost_nanos"] / NANOS}
    )


def test_every_panel_in_dollars_is_compared() -> None:
    in_dollars = {
        panel["title"] for panel in panels("spend") if DOLLARS in json.dumps(panel["fieldConfig"])
    }
    assert in_dollars == COMPARED
