"""The money on the dashboards is the ledger's, whatever happens to the processes that book it."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import httpx
import pytest

from gateway.database.database import Row, Transaction
from gateway.emulator import EmulatorServer
from gateway.model.money import NANOS
from gateway.settings import Settings
from tests.dashboards import organisation
from tests.dashboards.asking import Window, queries
from tests.dashboards.organisation import BASIC, COLLAGE, SOLO, secret
from tests.dashboards.prometheus import Prometheus, Series, free_port, needs_prometheus, scraping
from tests.support.serving import GatewayProcess, in_state
from tests.support.upstreams import png
from tests.support.waiting import until

pytestmark = needs_prometheus


@dataclass
class Books:
    """What Prometheus has seen of two gateways, and what the state says at the end."""

    prometheus: Prometheus
    window: Window
    ledger: list[Row]
    usage: list[Row]

    def panel(self, title: str, ref: str = "A") -> list[Series]:
        name = f"spend: {title} {ref}"
        (query,) = (each for each in queries("spend") if each.name == name)
        return list(self.window.ask(self.prometheus, query))

    def figure(self, title: str) -> float:
        (found,) = self.panel(title)
        return found.last

    def by(self, title: str, label: str, ref: str = "A") -> dict[str, float]:
        return {s.labels[label]: pytest.approx(s.last) for s in self.panel(title, ref) if s.last}

    def booked(
        self, label: str, rows: str = "ledger", money: str = "cost_nanos"
    ) -> dict[str, float]:
        sums: defaultdict[str, int] = defaultdict(int)
        for row in getattr(self, rows):
            sums[row[label]] += row[money]
        return {name: nanos / NANOS for name, nanos in sums.items() if nanos}


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Books]:
    """Money spent before the first scrape, around a restart, and right before a kill -9."""
    folder = tmp_path_factory.mktemp("books")
    with ExitStack() as stack:
        emulator = stack.enter_context(EmulatorServer())
        tables = organisation.tables(folder, emulator)
        settings = organisation.found(folder, emulator)
        ports = {name: free_port() for name in ("one", "two")}

        def serve(name: str) -> GatewayProcess:
            server = {**tables["server"], "port": ports[name]}
            return stack.enter_context(GatewayProcess({**tables, "server": server}, folder / name))

        one, two = serve("one"), serve("two")
        start = time.time()
        _edit(one, "figma", "before the first scrape")
        prometheus = stack.enter_context(scraping([one, two], folder / "prometheus"))
        _edit(two, "notebook", "on the other gateway", model=SOLO)
        _edit(one, "notebook", "on the other gateway", model=SOLO)
        one.stop()
        _edit(two, "figma", "while one is down")
        emulator.order({"cost": "missing"})
        _edit(two, "film", "without a cost", model=COLLAGE)
        two.kill()
        one, two = serve("one"), serve("two")
        _edit(two, "figma", "before the first scrape")
        _edit(two, "batch", "after the kill", model=SOLO)
        until(lambda: not _rows(settings, "SELECT id FROM reservations"), seconds=30)
        # A kill loses the last batch of usage rows, and never money.
        until(lambda: len(_rows(settings, "SELECT id FROM usage_rows")) >= 6, seconds=30)
        time.sleep(4)  # a reading of the state and a scrape
        yield Books(
            prometheus,
            Window(start, time.time()),
            _rows(
                settings, "SELECT team, key_id, model, cost_nanos, images, estimated FROM ledger"
            ),
            _rows(settings, "SELECT team, key_id, cause, saved_nanos FROM usage_rows"),
        )


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
    key_savings = books.booked("key_id", "usage", "saved_nanos")

    assert books.by("Teams", "team") == teams
    assert books.by("Teams", "team", "B") == books.booked("team", "usage", "saved_nanos")
    assert books.by("Teams and the period before", "team") == teams
    assert books.by("Teams and the period before", "team", "C") == teams
    assert books.by("Keys by cost", "key") == keys
    assert books.by("Keys by savings", "key") == key_savings
    assert books.by("Keys and the period before", "key") == keys
    assert books.by("Models by cost", "model") == books.booked("model")


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
    bars = {s.labels[label]: sum(value for _, value in s.points) for s in books.panel(title)}

    booked = books.booked(label, rows, money)
    if label == "team":
        booked["design"] -= 0.01  # before the first scrape: in no bar
    assert bars == pytest.approx(booked)
