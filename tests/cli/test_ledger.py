"""`gateway usage` and `gateway ledger …`, on a real state."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.cli import main
from gateway.cli.ledger import SHOWN_COLUMNS
from gateway.database.clock import now_ms
from gateway.database.migrate import migrate
from gateway.database.postgres import PostgresDatabase
from gateway.database.sqlite import SqliteDatabase
from gateway.emulator import EmulatorServer
from gateway.ledger.tables import unresolved_reservations
from gateway.ledger.tables.unresolved_reservations import Owner
from gateway.ledger.tables.usage import fold
from gateway.model.outcome import Outcome
from gateway.model.windows import day_of
from gateway.queries.models.ledger import LEDGER_COLUMNS
from tests.ledger.tables.test_usage import record, row
from tests.support.engines import fresh_schema, postgres_url
from tests.support.funds import CALLER, CENT, DAY_MS, NOW_MS, TODAY, Till, caller
from tests.support.serving import make_key, serving, settings_for

__all__ = ["postgres_url"]

Run = Callable[..., Result]
Fill = Callable[[Callable[[Till], Awaitable[None]]], None]

OTHER = caller("press", "k9", tags={"project": "zebra"})
DAYS = ("--from", "2026-11-01", "--to", "2026-11-30")
HOUR_MS = 3_600_000


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "gateway.db"


@pytest.fixture
def run(state: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`gateway ARGUMENTS` on the state of the test's own folder."""
    monkeypatch.setenv("GATEWAY_STATE__URL", f"sqlite:{state}")

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(main, list(arguments))

    invoke("init")
    return invoke


@pytest.fixture
def fill(state: Path) -> Fill:
    """Runs what it is given on a till over that state."""

    def filled(work: Callable[[Till], Awaitable[None]]) -> None:
        async def open_and_work() -> None:
            database = SqliteDatabase(state)
            await migrate(database)
            await work(await Till(database).open(callers=(CALLER, OTHER)))
            await database.close()

        asyncio.run(open_and_work())

    return filled


async def a_busy_month(till: Till) -> None:
    """Three paid calls (one estimated) on two days, and the requests around them."""
    await till.reserve("a")
    await till.settle("a", CENT)
    await till.reserve("b", 3 * CENT, model="m2")
    await till.settle("b", None)
    await till.reserve("c", 4 * CENT, by=OTHER, at=NOW_MS - DAY_MS)
    await till.settle("c", 2 * CENT + 1)
    mine: dict[str, Any] = {"owner": "ann", "cost_centre": "cc-7", "tags": {"project": "atlas"}}
    await record(
        till.database,
        [
            row(1, outcome=Outcome.MISS, **mine),
            row(2, cause="reuse", saved_nanos=CENT, **mine),
            row(3, outcome=Outcome.COALESCED, cause="coalesced", saved_nanos=CENT, **mine),
            row(4, outcome=Outcome.FAILED, status=502, code="upstream_failed", **mine),
            row(5, outcome=Outcome.REFUSED, status=429, team="press", key_id="k9"),
        ],
    )


def loaded(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def sheet(result: Result) -> list[dict[str, str]]:
    assert result.exit_code == 0, result.output
    return list(csv.DictReader(io.StringIO(result.stdout)))


# --- usage ----------------------------------------------------------------------------


def test_usage_says_what_each_group_asked_for_spent_and_saved(run: Run, fill: Fill) -> None:
    fill(a_busy_month)
    report = loaded(run("usage", "--by", "team", *DAYS, "--json"))
    assert (report["by"], report["from"], report["to"]) == ("team", "2026-11-01", "2026-11-30")
    design, press = report["data"]
    assert (design["group"], design["calls"], design["hits"]) == ("design", 4, 1)
    assert design["outcomes"] == {"coalesced": 1, "failed": 1, "hit": 1, "miss": 1}
    assert (design["spent_usd"], design["estimated_usd"]) == ("0.04", "0.03")
    assert (design["estimated_share"], design["error_share"]) == (0.75, 0.25)
    assert design["saved_usd_by_cause"] == {"coalesced": "0.01", "reuse": "0.01"}
    assert (press["spent_usd"], press["error_share"]) == ("0.020000001", 1.0)
    assert report["total"]["spent_usd"] == "0.060000001"
    assert report["total"]["calls"] == 5


def test_several_dimensions_have_a_column_each(run: Run, fill: Fill) -> None:
    fill(a_busy_month)
    rows = sheet(run("usage", "--by", "month, team,key", *DAYS, "--csv"))
    assert [(each["month"], each["team"], each["key"]) for each in rows] == [
        ("2026-11", "design", "k1"), ("2026-11", "press", "k9"),
    ]  # fmt: skip
    assert [(each["images"], each["paid_calls"], each["refused"]) for each in rows] == [
        ("2", "2", "0"), ("1", "1", "1"),
    ]  # fmt: skip
    report = loaded(run("usage", "--by", "month,team", *DAYS, "--json"))
    assert report["data"][1]["groups"] == {"month": "2026-11", "team": "press"}
    table = run("usage", "--by", "week,team", *DAYS).output
    assert "week\tteam" in table
    assert "2026-W48" in table


def test_what_can_not_be_split_is_said(run: Run, fill: Fill) -> None:
    fill(a_busy_month)
    told = run("usage", "--by", "upstream,team", *DAYS, "--json")
    assert "Requests and savings are not counted by upstream" in told.stderr
    report = loaded(told)
    assert report["notes"] == told.stderr.splitlines()[-1:]
    lines = {each["group"]: (each["calls"], each["spent_usd"]) for each in report["data"]}
    assert lines == {
        "(not split), design": (4, "0"),
        "(not split), press": (1, "0"),
        "(unknown), design": (0, "0.04"),
        "(unknown), press": (0, "0.020000001"),
    }


def test_deleted_requests_have_no_hour(run: Run, fill: Fill) -> None:
    async def month_with_old_requests(till: Till) -> None:
        await a_busy_month(till)
        await till.database.write(lambda tx: fold(tx, "2999-01-01", limit=2))

    fill(month_with_old_requests)
    told = run("usage", "--by", "hour", *DAYS, "--json")
    assert "have no hour left" in told.stderr
    lines = {each["group"]: (each["calls"], each["spent_usd"]) for each in loaded(told)["data"]}
    assert lines == {
        "(not split)": (2, "0"),
        "2026-11-24 23:00": (0, "0.020000001"),
        f"{TODAY} 12:00": (3, "0.04"),
    }


def test_csv_is_written_as_a_german_spreadsheet_reads_it(run: Run, fill: Fill) -> None:
    fill(a_busy_month)
    german = ("--csv", "--csv-decimal", "comma", "--csv-bom")
    text = run("usage", "--by", "team", *DAYS, *german).stdout
    assert text.startswith("\ufeffteam;calls;")
    design, press = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")), delimiter=";")
    assert (design["spent_usd"], design["estimated_share"]) == ("0,04", "0,75")
    assert press["spent_usd"] == "0,020000001"
    tabs = run("ledger", "list", *DAYS, "--csv", "--csv-separator", "tab").stdout
    assert tabs.splitlines()[0].split("\t") == list(LEDGER_COLUMNS)
    assert len(tabs.splitlines()) == 4


def test_a_style_without_csv_is_refused(run: Run) -> None:
    for command in (("usage", "--by", "team", "--csv-bom"), ("keys", "list", "--csv-raw")):
        result = run(*command)
        assert result.exit_code == 2
        assert "give --csv too" in result.output


def test_what_bears_no_tag_is_on_a_line_of_its_own(run: Run, fill: Fill) -> None:
    fill(a_busy_month)
    report = loaded(run("usage", "--by", "tag:project", *DAYS, "--json"))
    assert {line["group"]: line["spent_usd"] for line in report["data"]} == {
        "atlas": "0.04",
        "(untagged)": "0",
        "zebra": "0.020000001",
    }


def test_usage_by_key_names_the_keys(run: Run, state: Path) -> None:
    run("teams", "create", "design", "--unlimited")
    made = loaded(run("keys", "create", "--team", "design", "--name", "figma", "--json"))

    async def spend(till: Till) -> None:
        await till.reserve("a", by=replace(CALLER, **_accounts(made["id"])))
        await till.settle("a")

    async def on_till() -> None:
        database = SqliteDatabase(state)
        await spend(Till(database))
        await database.close()

    asyncio.run(on_till())
    (line,) = loaded(run("usage", "--by", "key", *DAYS, "--json"))["data"]
    assert (line["group"], line["name"]) == (made["id"], "design/figma")
    assert "design/figma" in run("usage", "--by", "key", *DAYS).output


def _accounts(key_id: str) -> dict[str, Any]:
    mine = caller("design", key_id)
    return {"key_id": key_id, "key_account": mine.key_account}


def test_usage_in_csv_adds_up_in_a_sheet_to_the_total_of_the_report(run: Run, fill: Fill) -> None:
    fill(a_busy_month)
    rows = sheet(run("usage", "--by", "day", *DAYS, "--csv"))
    total = loaded(run("usage", "--by", "day", *DAYS, "--json"))["total"]
    assert [each["day"] for each in rows] == ["2026-11-24", TODAY]
    assert sum(Decimal(each["spent_usd"]) for each in rows) == Decimal(total["spent_usd"])
    assert sum(int(each["calls"]) for each in rows) == total["calls"]
    causes = [name for name in rows[0] if name.startswith("saved_") and name != "saved_usd"]
    assert sum(Decimal(each[name]) for each in rows for name in causes) == Decimal("0.02")


def test_the_table_ends_with_a_total(run: Run, fill: Fill) -> None:
    fill(a_busy_month)
    listed = run("usage", "--by", "team", *DAYS)
    total = listed.stdout.splitlines()[-1].split("\t")
    assert listed.stderr.endswith("2026-11-01 to 2026-11-30 (UTC), by team\n")
    assert total[:2] == ["(total)", "5"]
    assert "0.060000001" in total


def test_a_report_that_is_cut_says_so_and_its_total_is_of_all_lines(run: Run, fill: Fill) -> None:
    fill(a_busy_month)
    whole = run("usage", "--by", "day", *DAYS).stdout.splitlines()
    cut = run("usage", "--by", "day", *DAYS, "--limit", "1")
    assert cut.stdout.splitlines() == [*whole[:2], whole[-1]]
    assert "1 of 2 lines are shown: --limit 2 shows all.\n" in cut.stderr


@settings(max_examples=8)
@given(
    spending=st.lists(
        st.tuples(st.integers(0, 6), st.integers(0, 5 * CENT)), min_size=1, max_size=12
    )
)
def test_single_days_add_up_to_their_range(
    tmp_path_factory: pytest.TempPathFactory, spending: list[tuple[int, int]]
) -> None:
    file = tmp_path_factory.mktemp("days") / "gateway.db"

    async def spend() -> None:
        database = SqliteDatabase(file)
        await migrate(database)
        till = await Till(database).open()
        for number, (days, nanos) in enumerate(spending):
            at = NOW_MS - days * DAY_MS
            await till.reserve(str(number), 5 * CENT, at=at)
            await till.settle(str(number), nanos, at=at)
        await database.close()

    asyncio.run(spend())

    def spent(first: date, last: date) -> Decimal:
        arguments = ["usage", "--by", "team", "--from", f"{first}", "--to", f"{last}", "--json"]
        environment = {"GATEWAY_STATE__URL": f"sqlite:{file}"}
        result = CliRunner().invoke(main, arguments, env=environment)
        return Decimal(loaded(result)["total"]["spent_usd"])

    last = date.fromisoformat(TODAY)
    days = [last - timedelta(days=number) for number in range(7)]
    whole = spent(days[-1], days[0])
    assert whole == sum(spent(day, day) for day in days)
    assert whole == Decimal(sum(nanos for _, nanos in spending)) / 10**9


def test_without_days_usage_is_this_months_in_the_settings_time_zone(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_SERVER__TIMEZONE", "Pacific/Kiritimati")
    report = loaded(run("usage", "--by", "team", "--json"))
    today = datetime.now(UTC) + timedelta(hours=14)
    assert report["timezone"] == "Pacific/Kiritimati"
    assert report["to"] == today.date().isoformat()
    assert report["from"] == today.date().replace(day=1).isoformat()


def test_a_last_day_alone_means_its_month(run: Run) -> None:
    report = loaded(run("usage", "--by", "team", "--to", "2026-02-17", "--json"))
    assert (report["from"], report["to"]) == ("2026-02-01", "2026-02-17")


def test_a_last_day_that_is_yet_to_come_means_this_month(run: Run) -> None:
    today = datetime.now(UTC).date()
    later = (today + timedelta(days=70)).isoformat()
    report = loaded(run("usage", "--by", "team", "--to", later, "--json"))
    assert (report["from"], report["to"]) == (today.replace(day=1).isoformat(), later)


def test_usage_of_one_team_is_of_it_alone(run: Run, fill: Fill) -> None:
    fill(a_busy_month)
    report = loaded(run("usage", "--by", "team", "--team", "press", *DAYS, "--json"))
    assert [line["group"] for line in report["data"]] == ["press"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--by", "colour"), "colour"),
        (("--by", "team", "--from", "yesterday"), "yesterday"),
        (("--by", "team", "--from", "2026-02-02", "--to", "2026-02-01"), "is after --to"),
        (("--by", "team", "--team", "nobody"), "nobody"),
        ((), "--by"),
    ],
)
def test_what_usage_cannot_do_is_said_in_a_line(
    run: Run, arguments: tuple[str, ...], named: str
) -> None:
    result = run("usage", *arguments)
    assert result.exit_code != 0
    assert named in result.output
    assert "Traceback" not in result.output


def test_what_the_gateway_served_is_in_the_report(
    run: Run, tmp_path: Path, emulator: EmulatorServer
) -> None:
    served = settings_for(tmp_path, emulator)
    make_key(served, team_terms={"unlimited": True, "cost_centre": "cc-7"})
    with serving(served) as gateway:
        for prompt in ("one", "one", "two"):
            assert gateway.edit(prompt).status_code == 200
    (line,) = loaded(run("usage", "--by", "cost_centre", "--json"))["data"]
    assert (line["group"], line["calls"], line["hits"]) == ("cc-7", 3, 1)
    assert (line["spent_usd"], line["saved_usd"]) == ("0.02", "0.01")


# --- ledger verify --------------------------------------------------------------------


def test_books_that_agree_are_proven(run: Run, fill: Fill) -> None:
    fill(a_busy_month)
    result = run("ledger", "verify")
    assert result.exit_code == 0
    assert "3 ledger rows: $0.060000001 spent, of which $0.03 is estimated" in result.output
    assert "Every balance is what the ledger and the open reservations add up to" in result.output
    assert f"Requests and savings in reports are verified from {TODAY} on" in result.output
    assert loaded(run("ledger", "verify", "--json"))["agrees"] is True


def test_books_that_do_not_agree_end_with_status_1_and_say_where(
    run: Run, fill: Fill, state: Path
) -> None:
    fill(a_busy_month)
    with sqlite3.connect(state) as tampered:
        tampered.execute(
            "UPDATE balances SET spent_nanos = spent_nanos - 5 "
            "WHERE account = 'team:design' AND day = 'total'"
        )
    result = run("ledger", "verify")
    assert result.exit_code == 1
    assert "NOT" in result.output
    assert "team:design" in result.output
    told = json.loads(run("ledger", "verify", "--json").stdout)
    (difference,) = told["differences"]
    assert difference["booked"] == difference["proven"] - 5


def test_a_roll_up_that_names_the_wrong_model_is_found_out(
    run: Run, fill: Fill, state: Path
) -> None:
    fill(a_busy_month)
    with sqlite3.connect(state) as tampered:
        tampered.execute("UPDATE rollups SET model = 'm3' WHERE model = 'm2'")
    result = run("ledger", "verify")
    assert result.exit_code == 1
    assert "design/k1 model=m3 owner=ann" in result.output


def test_without_single_requests_verify_says_what_it_can_not_prove(run: Run, fill: Fill) -> None:
    async def paid(till: Till) -> None:
        await till.reserve("a")
        await till.settle("a")

    fill(paid)
    assert "no single requests are kept" in run("ledger", "verify").output


# --- ledger resolve -------------------------------------------------------------------


async def left_behind(till: Till) -> None:
    """Three held: of a dead process long ago, of a live one, of a dead one just now."""
    now = now_ms()
    await till.reserve("dead", 2 * CENT, at=now - HOUR_MS, owner_id="gone")
    await till.reserve("alive", at=now - HOUR_MS, owner_id="living")
    await till.reserve("young", at=now - 60_000, owner_id="gone")
    await till.database.write(
        lambda tx: unresolved_reservations.beat(tx, Owner("living", "host", 1, now - HOUR_MS), now)
    )


def test_what_is_abandoned_is_settled_at_its_ceiling_and_the_rest_left_with_a_reason(
    run: Run, fill: Fill
) -> None:
    fill(left_behind)
    told = loaded(run("ledger", "resolve", "--json"))
    assert [each["id"] for each in told["reservations"]] == ["dead"]
    assert (told["dry_run"], told["booked_usd"]) == (False, "0.02")
    reasons = {each["id"]: each["why"] for each in told["left"]}
    assert reasons["alive"].startswith("its process may still run: last heartbeat ")
    assert "the call may still run" in reasons["young"]
    assert "1280 s" in reasons["young"], "a turn, a wait between tries, and two time-outs"
    verified = loaded(run("ledger", "verify", "--json"))
    assert (verified["spent_usd"], verified["estimated_usd"]) == ("0.02", "0.02")
    assert (verified["open_reservations"], verified["agrees"]) == (2, True)


def test_a_dry_run_settles_nothing(run: Run, fill: Fill) -> None:
    fill(left_behind)
    result = run("ledger", "resolve", "--dry-run")
    assert "1 abandoned reservations would be settled at $0.02" in result.output
    assert loaded(run("ledger", "verify", "--json"))["open_reservations"] == 3


def test_how_old_counts_follows_the_upstreams_patience(
    run: Run, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_UPSTREAM__TIMEOUT_SECONDS", "15")
    monkeypatch.setenv("GATEWAY_UPSTREAM__QUEUE_SECONDS", "1")
    fill(left_behind)
    told = loaded(run("ledger", "resolve", "--json"))
    assert [each["id"] for each in told["reservations"]] == ["dead", "young"]


def test_more_than_one_batch_is_settled_at_once_and_only_once(run: Run, fill: Fill) -> None:
    async def many(till: Till) -> None:
        for number in range(203):
            await till.reserve(f"r{number:03}", at=now_ms() - HOUR_MS, owner_id="gone")

    fill(many)
    assert loaded(run("ledger", "resolve", "--json"))["resolved"] == 203
    assert "Nothing is abandoned." in run("ledger", "resolve").output


def test_resolving_is_in_the_audit_with_its_reason(run: Run, fill: Fill) -> None:
    fill(left_behind)
    run("ledger", "resolve", "--reason", "host 7 burnt down")
    (change,) = loaded(run("audit", "--json"))
    assert (change["action"], change["reason"]) == ("ledger.resolve", "host 7 burnt down")
    assert change["new"]["reservations"] == ["dead"]


# --- ledger correct -------------------------------------------------------------------


def test_a_correction_books_the_difference_and_is_audited(run: Run, fill: Fill) -> None:
    fill(a_busy_month)
    command = ("ledger", "correct", "req-b", "--cost-usd", "0.004", "--reason", "by the bill")
    result = run(*command)
    assert result.stdout == "req-b cost $0.03 and now costs $0.004.\n"
    again = run(*command)
    assert "already says" in again.output
    verified = loaded(run("ledger", "verify", "--json"))
    assert (verified["estimated_usd"], verified["agrees"]) == ("0", True)
    (change,) = loaded(run("audit", "--json"))
    assert (change["action"], change["reason"]) == ("ledger.correct", "by the bill")


def test_an_estimate_that_is_confirmed_is_said_to_be_none_any_more(run: Run, fill: Fill) -> None:
    fill(a_busy_month)
    result = run("ledger", "correct", "req-b", "--cost-usd", "0.03")
    assert result.stdout == "req-b is confirmed at $0.03: no longer an estimate.\n"
    assert loaded(run("ledger", "verify", "--json"))["estimated_calls"] == 0


def test_what_a_request_still_holds_is_said_when_it_is_corrected(run: Run, fill: Fill) -> None:
    async def one_booked_two_held(till: Till) -> None:
        await till.reserve("held", 2 * CENT)
        for name in "ab":
            await till.reserve(name, 3 * CENT, request_id="req-a")
        await till.settle("a")

    fill(one_booked_two_held)
    refused = run("ledger", "correct", "req-held", "--cost-usd", "0.01")
    assert refused.exit_code != 0
    assert "$0.02 is held for it until it is resolved" in refused.output
    corrected = run("ledger", "correct", "req-a", "--cost-usd", "0.02")
    assert corrected.stdout.splitlines() == [
        "req-a cost $0.01 and now costs $0.02.",
        "$0.03 more is held for it until its reservation is resolved.",
    ]


def test_a_cost_that_can_not_be_is_refused_in_dollars(run: Run, fill: Fill) -> None:
    fill(a_busy_month)
    result = run("ledger", "correct", "req-b", "--cost-usd", "2000000")
    assert result.exit_code != 0
    assert "$2000000.00" in result.output
    assert "nano" not in result.output


@pytest.mark.parametrize(
    ("request_id", "cost"), [("req-nobodys", "1"), ("req-b", "much"), ("req-b", "-1")]
)
def test_a_correction_that_makes_no_sense_changes_nothing(
    run: Run, fill: Fill, request_id: str, cost: str
) -> None:
    fill(a_busy_month)
    result = run("ledger", "correct", request_id, f"--cost-usd={cost}")
    assert result.exit_code != 0
    assert "Traceback" not in result.output
    assert loaded(run("ledger", "verify", "--json"))["spent_usd"] == "0.060000001"


# --- ledger list ----------------------------------------------------------------------


def test_every_row_of_the_days_is_listed_with_everything_it_keeps(run: Run, fill: Fill) -> None:
    fill(a_busy_month)
    rows = loaded(run("ledger", "list", *DAYS, "--json"))
    assert [each["id"] for each in rows] == ["c", "a", "b"]
    assert tuple(rows[0]) == LEDGER_COLUMNS
    assert rows[0]["cost_usd"] == "0.020000001"
    assert [each["estimated"] for each in rows] == [False, False, True]
    rows = sheet(run("ledger", "list", *DAYS, "--csv"))
    assert [each["id"] for each in rows] == ["c", "a", "b"]
    assert rows[1]["tags"] == "project=atlas"


def test_a_day_a_team_or_the_estimated_alone_can_be_listed(run: Run, fill: Fill) -> None:
    fill(a_busy_month)

    def ids(*arguments: str) -> list[str]:
        return [each["id"] for each in loaded(run("ledger", "list", *arguments, "--json"))]

    assert ids("--from", TODAY, "--to", TODAY) == ["a", "b"]
    assert ids(*DAYS, "--team", "press") == ["c"]
    assert ids(*DAYS, "--estimated") == ["b"]
    assert ids(*DAYS, "--estimated", "--team", "press") == []


def test_every_estimate_that_is_open_is_listed_whatever_its_day(run: Run, fill: Fill) -> None:
    async def estimates(till: Till) -> None:
        for days, name in ((400, "old"), (40, "younger"), (0, "new")):
            await till.reserve(name, at=NOW_MS - days * DAY_MS)
            await till.settle(name, None, at=NOW_MS)

    fill(estimates)

    def ids(*arguments: str) -> list[str]:
        result = run("ledger", "list", "--estimated", *arguments, "--json")
        return [each["id"] for each in loaded(result)]

    assert ids() == ["old", "younger", "new"]
    assert ids("--to", "2026-11-01") == ["old", "younger"]
    assert ids("--from", "2026-11-01") == ["new"]
    assert "No cost is an estimate." in run("ledger", "list", "--estimated", "--team", "x").output


def test_no_name_or_tag_is_a_formula_in_a_sheet(run: Run, fill: Fill) -> None:
    sly = [
        caller("press", f"k{number}", cost_centre=text, tags={"project": text})
        for number, text in enumerate(["=1+1", "+1", "-1", "@SUM(A1)", "\uff1d1", "fine"])
    ]

    async def spend(till: Till) -> None:
        await till.open(callers=tuple(sly))
        for each in sly:
            await till.reserve(each.key_id, 3 * CENT, by=each)
            await till.settle(each.key_id, None)
            await till.settle(each.key_id, CENT)

    fill(spend)
    found = sheet(run("usage", "--by", "tag:project", *DAYS, "--csv"))
    groups = {each["tag:project"] for each in found}
    assert groups == {"'=1+1", "'+1", "'-1", "'@SUM(A1)", "'\uff1d1", "fine"}
    rows = sheet(run("ledger", "list", *DAYS, "--csv"))
    assert {each["cost_centre"] for each in rows} == groups
    raw = sheet(run("ledger", "list", *DAYS, "--csv", "--csv-raw"))
    assert {each["cost_centre"] for each in raw} == {text.removeprefix("'") for text in groups}
    assert {each["cost_usd"] for each in rows} == {"0.03", "-0.02"}
    shown = loaded(run("usage", "--by", "cost_centre", *DAYS, "--json"))["data"]
    assert "=1+1" in {each["group"] for each in shown}


def test_a_name_in_square_brackets_is_shown_as_it_is(run: Run, fill: Fill) -> None:
    async def spend(till: Till) -> None:
        odd = caller("press", "k9", cost_centre="[/b] and [red]")
        await till.open(callers=(odd,))
        await till.reserve("a", by=odd)
        await till.settle("a")

    fill(spend)
    assert "[/b] and [red]" in run("usage", "--by", "cost_centre", *DAYS).output


def test_a_ledger_of_many_pages_is_listed_whole_and_once(
    run: Run, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["gateway.cli.ledger"], "PAGE_ROWS", 2)
    fill(a_busy_month)
    assert [each["id"] for each in loaded(run("ledger", "list", *DAYS, "--json"))] == [
        "c",
        "a",
        "b",
    ]
    rows = sheet(run("ledger", "list", *DAYS, "--csv"))
    assert [each["id"] for each in rows] == ["c", "a", "b"]


def test_an_empty_ledger_lists_as_nothing_in_every_form(run: Run) -> None:
    assert loaded(run("ledger", "list", "--json")) == []
    assert sheet(run("ledger", "list", "--csv")) == []
    listed = run("ledger", "list")
    assert listed.stdout.splitlines() == ["\t".join(SHOWN_COLUMNS)]
    assert listed.stderr.endswith("No call was booked in these days.\n")


def test_a_ledger_that_is_cut_says_so_and_where_it_goes_on(run: Run, fill: Fill) -> None:
    fill(a_busy_month)
    whole = loaded(run("ledger", "list", *DAYS, "--json"))
    first = run("ledger", "list", *DAYS, "--json", "--limit", "2")
    after = first.stderr.partition("--after ")[2].split()[0]
    rest = run("ledger", "list", *DAYS, "--json", "--after", after)

    assert loaded(first) + loaded(rest) == whole
    assert "More rows" not in rest.stderr
    assert len(run("ledger", "list", *DAYS, "--limit", "3").stdout.splitlines()) == 1 + 3
    assert run("ledger", "list", "--after", "yesterday").exit_code == 2


def test_a_day_is_that_of_the_settings_time_zone(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_SERVER__TIMEZONE", "Asia/Tokyo")
    assert day_of(NOW_MS + 4 * HOUR_MS, UTC) == TODAY
    report = loaded(run("usage", "--by", "day", "--json"))
    assert report["to"] == (datetime.now(UTC) + timedelta(hours=9)).date().isoformat()


# --- whose clock ----------------------------------------------------------------------


@pytest.fixture
def postgres_run(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`gateway ARGUMENTS` on a PostgreSQL, by a machine whose clock is forty days ahead."""
    url = fresh_schema(postgres_url)
    monkeypatch.setenv("GATEWAY_STATE__URL", url)

    async def leave() -> None:
        database = PostgresDatabase(url)
        await migrate(database)
        await left_behind(await Till(database).open())
        await database.close()

    asyncio.run(leave())
    right = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: right() + 40 * DAY_MS * 1_000_000)

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(main, list(arguments))

    return invoke


def test_today_is_the_states_and_not_this_machines(postgres_run: Run) -> None:
    report = loaded(postgres_run("usage", "--by", "team", "--json"))
    assert abs(date.fromisoformat(report["to"]) - datetime.now(UTC).date()) <= timedelta(days=1)


def test_what_is_abandoned_is_told_by_the_states_clock(postgres_run: Run) -> None:
    told = loaded(postgres_run("ledger", "resolve", "--json"))
    assert [each["id"] for each in told["reservations"]] == ["dead"]
    (change,) = loaded(postgres_run("audit", "--json"))
    assert abs(datetime.fromisoformat(change["at"]) - datetime.now(UTC)) < timedelta(hours=1)
