"""Usage and the ledger over `/admin/v1`: what was really bought, by whom, and corrections."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.accounts.tables.audit import Author
from gateway.database.clock import now_ms
from gateway.emulator import EmulatorServer
from gateway.ledger.tables import close_month, reserve_settle
from gateway.ledger.tables.balances import accounts_of
from gateway.model.caller import Caller
from gateway.model.reservation import CallFacts
from gateway.model.windows import days_before
from gateway.pricing.rules.ceilings import Quote
from gateway.settings import Settings
from tests.api.admin.api_client import Api, admin_settings, in_force
from tests.end_to_end.test_closing_the_books import aged, two_months_ago
from tests.end_to_end.test_refusals import check_refused
from tests.support.serving import Running, in_state, serving

TODAY = datetime.now(UTC).date().isoformat()
HOUR_MS = 3_600_000


@dataclass
class Shop:
    """A gateway with the teams `design` and `video`, each with a key."""

    served: Running
    root: Api
    keys: dict[str, Any]

    def buy(self, team: str, prompt: str) -> str:
        """An edit; gives its request id."""
        answer = self.served.edit(prompt, key=self.keys[team]["secret"])
        assert answer.status_code == 200, answer.text
        return str(answer.headers["x-request-id"])


@contextmanager
def opened(folder: Path, emulator: EmulatorServer) -> Iterator[Shop]:
    emulator.reset()
    with serving(admin_settings(folder, emulator)) as served:
        root = Api(served)
        keys = {}
        for team in ("design", "video"):
            root.post("/teams", name=team, unlimited=True, cost_centre=f"cc-{team}")
            keys[team] = root.post("/keys", team=team, name="first", tags={"project": team})
        in_force(lambda: opens(served, keys["video"]["secret"]))
        yield Shop(served, root, keys)


def opens(served: Running, secret: str) -> bool:
    with served.client(secret) as client:
        return client.get("/v1/models").status_code == 200


@pytest.fixture(scope="module")
def shop(
    tmp_path_factory: pytest.TempPathFactory, emulator_server: EmulatorServer
) -> Iterator[Shop]:
    """A shop at which `design` has bought three edits and had a hit, and `video` bought one.

    Many tests read its books; none changes them.
    """
    with opened(tmp_path_factory.mktemp("shop"), emulator_server) as shop:
        for team, prompt in (("design", "abcc"), ("video", "d")):
            for each in prompt:
                shop.buy(team, each)
        in_force(lambda: shop.root.get("/usage")["total"]["calls"] == 5)
        yield shop


@pytest.fixture
def own_shop(tmp_path: Path, emulator_server: EmulatorServer) -> Iterator[Shop]:
    """A shop of the test's own, at which nothing was bought."""
    with opened(tmp_path, emulator_server) as shop:
        yield shop


def spent(lines: list[Any]) -> Decimal:
    return sum((Decimal(line["spent_usd"]) for line in lines), Decimal(0))


def test_usage_says_what_was_spent_and_saved_by_whom(shop: Shop) -> None:
    report = shop.root.get("/usage", by="team")
    design, video = report["data"]

    assert (design["group"], video["group"]) == ("design", "video")
    assert (design["calls"], design["hits"], design["paid_calls"]) == (4, 1, 3)
    assert (design["spent_usd"], design["saved_usd"]) == ("0.03", "0.01")
    assert design["saved_usd_by_cause"] == {"reuse": "0.01"}
    assert (report["from"], report["to"]) == (TODAY[:8] + "01", TODAY)
    assert report["total"]["spent_usd"] == "0.04"


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("team", ["design", "video"]),
        ("day", [TODAY]),
        ("model", ["deepshi-image-1"]),
        ("cost_centre", ["cc-design", "cc-video"]),
        ("tag:project", ["design", "video"]),
        ("tag:nothing", ["(untagged)"]),
    ],
)
def test_usage_is_grouped_by_any_dimension_and_always_adds_up(
    shop: Shop, by: str, groups: list[str]
) -> None:
    report = shop.root.get("/usage", by=by)

    assert [line["group"] for line in report["data"]] == groups
    assert spent(report["data"]) == Decimal("0.04") == Decimal(report["total"]["spent_usd"])


def test_usage_by_key_names_the_key(shop: Shop) -> None:
    lines = shop.root.get("/usage", by="key")["data"]

    assert {line["group"]: line["name"] for line in lines} == {
        shop.keys[team]["id"]: f"{team}/first" for team in ("design", "video")
    }


def test_usage_is_grouped_by_several_dimensions(shop: Shop) -> None:
    report = shop.root.get("/usage", by="cost_centre,upstream")

    assert report["notes"] == [
        "Requests and savings are not counted by upstream: they are on the lines (not split). "
        "Money is."
    ]
    lines = {tuple(line["groups"].items()): line["spent_usd"] for line in report["data"]}
    upstream = ("upstream", "deepshi")
    assert lines == {
        (("cost_centre", "cc-design"), ("upstream", "(not split)")): "0",
        (("cost_centre", "cc-video"), ("upstream", "(not split)")): "0",
        (("cost_centre", "cc-design"), upstream): "0.03",
        (("cost_centre", "cc-video"), upstream): "0.01",
    }


def test_usage_is_csv_for_those_who_accept_it(shop: Shop) -> None:
    query = {"by": "team,month", "decimal": "comma", "bom": "true"}
    answer = shop.root.ask("GET", "/usage", params=query, headers={"accept": "text/csv"})

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    rows = list(csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff")), delimiter=";"))
    assert [(row["team"], row["month"], row["spent_usd"]) for row in rows] == [
        ("design", TODAY[:7], "0,03"), ("video", TODAY[:7], "0,01"),
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [("separator", ";"), ("decimal", ","), ("bom", "yes")])
def test_a_style_that_there_is_not_is_refused(shop: Shop, name: str, value: str) -> None:
    answer = shop.root.ask("GET", "/usage", params={name: value})

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)


def test_usage_of_days_without_any_is_empty(shop: Shop) -> None:
    report = shop.root.get("/usage", **{"from": "2020-01-01", "to": "2020-01-31"})

    assert report["data"] == []
    assert report["total"]["spent_usd"] == "0"


def test_a_token_of_a_team_reads_its_own_usage_and_ledger_alone(shop: Shop) -> None:
    holder = shop.root.holder("team:video")
    usage, rows = holder.get("/usage"), holder.every("/ledger", limit=1)

    assert [line["group"] for line in usage["data"]] == ["video"]
    assert usage["total"]["spent_usd"] == "0.01"
    assert [row["team"] for row in rows] == ["video"]


def test_the_ledger_has_a_row_for_every_call_that_was_billed(
    shop: Shop, emulator_server: EmulatorServer
) -> None:
    rows = shop.root.every("/ledger", limit=3)

    assert len(rows) == emulator_server.stats()["billed_calls"] == 4
    assert len({row["id"] for row in rows}) == 4
    assert sum(Decimal(row["cost_usd"]) for row in rows) == Decimal("0.04")
    row = next(row for row in rows if row["team"] == "design")
    assert (row["object"], row["kind"], row["day"]) == ("ledger_row", "call", TODAY)
    assert (row["model"], row["status"], row["estimated"]) == ("deepshi-image-1", 200, False)
    assert (row["key"], row["tags"]) == (shop.keys["design"]["id"], {"project": "design"})


def test_the_ledger_is_narrowed_to_a_team_and_to_days(shop: Shop) -> None:
    assert len(shop.root.every("/ledger", team="design", limit=2)) == 3
    assert shop.root.every("/ledger", **{"from": "2020-01-01", "to": "2020-12-31"}) == []


def test_a_correction_is_booked_audited_and_repeated_changes_nothing(own_shop: Shop) -> None:
    shop = own_shop
    request = shop.buy("video", "corrected")
    finance = shop.root.holder("finance")
    asked = {"request_id": request, "cost_usd": "0.025", "reason": "by the bill"}
    first = finance.post("/ledger/corrections", **asked)
    again = finance.post("/ledger/corrections", **asked)

    assert (first["before_usd"], first["cost_usd"], first["corrections"]) == ("0.01", "0.025", 1)
    assert again["corrections"] == 0
    booked = [row for row in shop.root.every("/ledger") if row["request_id"] == request]
    assert [row["kind"] for row in booked] == ["call", "correction"]
    assert sum(Decimal(row["cost_usd"]) for row in booked) == Decimal("0.025")
    audited = shop.root.get("/audit", subject=f"request:{request}")["data"]
    assert [row["reason"] for row in audited] == ["by the bill"]
    assert audited[0]["actor"].startswith("token:")
    assert shop.root.get("/ledger/verify")["agrees"] is True


@pytest.mark.parametrize("cost", [-1, "none", True, "1e12", [1]])
def test_a_cost_that_can_not_be_is_refused(shop: Shop, cost: object) -> None:
    row = shop.root.get("/ledger")["data"][0]
    document = {"request_id": row["request_id"], "cost_usd": cost}
    answer = shop.root.ask("POST", "/ledger/corrections", json=document)

    check_refused(answer, 400, "invalid_field", param="cost_usd")


def test_a_cost_above_what_can_be_booked_is_named_in_dollars(shop: Shop) -> None:
    row = shop.root.get("/ledger")["data"][0]
    document = {"request_id": row["request_id"], "cost_usd": 2_000_000}
    answer = shop.root.ask("POST", "/ledger/corrections", json=document)

    assert "$2000000.00" in check_refused(answer, 400, "invalid_field", param="cost_usd")["message"]


def test_a_request_that_only_holds_money_yet_is_said_to(own_shop: Shop) -> None:
    hold(own_shop.served.settings, own_shop.keys["design"]["id"], "held", now_ms())
    document = {"request_id": "req_held", "cost_usd": 0.01}
    answer = own_shop.root.ask("POST", "/ledger/corrections", json=document)

    refused = check_refused(answer, 404, "not_found", param="request_id")
    assert "$0.02 is held for it" in refused["message"]


def test_a_report_up_to_a_day_that_is_yet_to_come_begins_with_this_month(shop: Shop) -> None:
    report = shop.root.get("/usage", to="2999-12-31")

    assert (report["from"], report["to"]) == (TODAY[:8] + "01", "2999-12-31")
    assert report["total"]["spent_usd"] == "0.04"


@pytest.mark.parametrize("after", ["x", f"{TODAY}/a", f"{TODAY}/1e9/a", f"{TODAY}/{10**30}/a"])
def test_a_place_in_the_ledger_that_no_page_gave_is_refused(shop: Shop, after: str) -> None:
    check_refused(
        shop.root.ask("GET", "/ledger", params={"after": after}),
        400,
        "invalid_field",
        param="after",
    )


def test_the_books_are_proven(shop: Shop) -> None:
    found = shop.root.get("/ledger/verify")

    assert (found["agrees"], found["differences"]) == (True, [])
    assert (found["ledger_rows"], found["spent_usd"]) == (4, "0.04")


def test_books_that_were_tampered_with_are_found_out(own_shop: Shop) -> None:
    shop = own_shop
    shop.buy("design", "bought")
    in_state(
        shop.served.settings,
        lambda tx: tx.fetch(
            "UPDATE balances SET spent_nanos = 0 WHERE account = $1 AND day = $2",
            *("team:design", TODAY),
        ),
    )
    found = shop.root.get("/ledger/verify")

    assert found["agrees"] is False
    assert found["differences"] == [
        {"what": "spent nanos", "account": "team:design", "day": TODAY, "booked": 0,
         "proven": 10_000_000}
    ]  # fmt: skip


def hold(settings: Settings, key_id: str, reservation: str, made_ms: int) -> None:
    """A call of the team `design` whose process is gone."""
    accounts = accounts_of("design", key_id)
    caller = Caller(key_id, "first", "design", *accounts)
    in_state(
        settings,
        lambda tx: reserve_settle.hold(
            tx,
            Quote(caller, CallFacts(f"req_{reservation}", "deepshi-image-1"), 20_000_000, 1),
            reservation_id=reservation,
            ceiling_nanos=20_000_000,
            owner_id="gone",
            now_ms=made_ms,
            zone=settings.zone,
        ),
    )


def test_what_a_crash_left_is_listed_and_settled_at_its_ceiling(own_shop: Shop) -> None:
    shop, key_id, now = own_shop, own_shop.keys["design"]["id"], now_ms()
    hold(shop.served.settings, key_id, "young", now)
    settled: dict[str, Any] = {"resolved": 0}
    for number in range(5):  # the gateway's own sweep, once in a few seconds, may be first
        hold(shop.served.settings, key_id, f"old-{number}", now - HOUR_MS)
        listed = {each["id"]: each["abandoned"] for each in shop.root.every("/ledger/unresolved")}
        settled = shop.root.post("/ledger/resolve", reason="after the crash")
        if settled["resolved"]:
            break

    assert listed == {"young": False, f"old-{number}": True}
    assert (settled["resolved"], settled["booked_usd"]) == (1, "0.02")
    assert [each["id"] for each in shop.root.every("/ledger/unresolved", limit=1)] == ["young"]
    audited = shop.root.get("/audit", subject="ledger")["data"]
    by_hand = [row for row in audited if row["actor"] != "gateway"]
    assert [row["reason"] for row in by_hand] == ["after the crash"]
    assert by_hand[0]["new"] == {"reservations": [f"old-{number}"], "booked_usd": "0.02"}
    estimated = {row["cost_usd"] for row in shop.root.every("/ledger") if row["estimated"]}
    assert estimated == {"0.02"}
    assert shop.root.get("/ledger/verify")["agrees"] is True


def test_closed_months_are_listed_and_what_comes_later_says_where_it_is_booked(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    with opened(tmp_path, emulator) as shop:
        name = shop.buy("design", "grey")
        month = month_that_is_over(shop.served.settings)
        (closed,) = shop.root.every("/ledger/closings")
        assert (closed["object"], closed["period"]) == ("closed_month", month)
        assert (closed["ledger_rows"], closed["spent_usd"]) == (1, "0.01")
        assert shop.root.get("/ledger/verify")["closed_through"] == closed["to"]
        answer = shop.root.post("/ledger/corrections", request_id=name, cost_usd="0.02")
        assert answer["booked_in"] == days_before(closed["to"], -1)
        assert shop.root.get("/ledger/verify")["agrees"] is True


def month_that_is_over(settings: Settings) -> str:
    """Make all that is booked two months older, and close its month; gives its name."""
    then = two_months_ago()
    aged(
        Path(settings.state.url.removeprefix("sqlite:")),
        (datetime.now(UTC).date() - then).days,
    )
    month = then.isoformat()[:7]
    by = Author("test", now_ms())
    frozen = in_state(settings, lambda tx: close_month.freeze(tx, month, by, settings.zone))
    contents = in_state(settings, lambda tx: close_month.contents_of(tx, frozen))
    in_state(settings, lambda tx: close_month.seal(tx, month, contents))
    return month
