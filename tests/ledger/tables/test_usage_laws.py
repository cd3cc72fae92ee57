"""Usage reports of any dimensions agree with the ledger, whatever was booked, closed or deleted.

Each report is compared with the rows that the state keeps, grouped here in other words.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.accounts.tables.audit import Author
from gateway.database.database import Database
from gateway.database.migrate import migrate
from gateway.ledger.rules.usage_grouping import COLUMNS, NOT_SPLIT, UNKNOWN, UNTAGGED
from gateway.ledger.tables import close_month, corrections, reports, usage
from gateway.ledger.tables.booking import book_statement_rows
from gateway.ledger.tables.corrections import grouped
from gateway.ledger.tables.ledger_rows import LedgerRow, select_ledger_rows
from gateway.ledger.tables.rollups import COLUMNS as SUMS
from gateway.ledger.tables.rollups import tags_text
from gateway.ledger.tables.usage import UsageRow
from gateway.model.caller import Caller
from gateway.model.outcome import Outcome
from gateway.model.windows import day_of
from tests.support.databases import open_engine
from tests.support.engines import fresh_schema, postgres_url
from tests.support.funds import DAY_MS, NOW_MS, Till, caller

__all__ = ["postgres_url"]

ZONE = ZoneInfo("Europe/Berlin")
CALLERS = (
    caller("design", "k1", owner="ann", cost_centre="cc-7", tags={"project": "atlas"}),
    caller(
        "design",
        "k2",
        cost_centre="(untagged)",
        tags={"project": "zebra", "x": "1"},
        end_user="ada",
    ),
    caller("press", "k3", owner="bob"),
)
ENDED = ("2026-09", "2026-10")
DIMENSIONS = (*COLUMNS, "tag:project", "tag:x")
BY_CALL = frozenset(("upstream", "cost_kind"))
EXAMPLES = [pytest.param(1, id="short"), pytest.param(30, id="long", marks=pytest.mark.long)]

DAYS_AGO = (0, 1, 24, 25, 31, 32, 40, 55, 56, 66)
"""Around the ends of months, and the night on which clocks are set back."""
costs = st.none() | st.sampled_from((0, 1, 2, 10**9))
moments = st.builds(
    lambda days, quarters: NOW_MS - days * DAY_MS - quarters * DAY_MS // 96,
    st.sampled_from(DAYS_AGO),
    st.integers(0, 95),
)
callers = st.sampled_from(CALLERS)


@dataclass(frozen=True)
class Call:
    by: Caller
    at_ms: int
    took_minutes: int
    cost: int | None
    kind: str
    upstream: str
    images: int


@dataclass(frozen=True)
class Request:
    by: Caller
    at_ms: int
    outcome: Outcome
    saved: int
    model: str


calls = st.builds(
    Call,
    callers,
    moments,
    st.integers(0, 90),
    costs,
    st.sampled_from(("stated", "computed")),
    st.sampled_from(("openai", "azure", "")),
    st.integers(1, 3),
)
requests = st.builds(
    Request,
    callers,
    moments,
    st.sampled_from(Outcome),
    st.integers(0, 10**8),
    st.sampled_from(("m1", "m2", "")),
)
changes = st.tuples(st.integers(0, 100), costs)
groupings = st.lists(st.sampled_from(DIMENSIONS), min_size=1, max_size=4, unique=True)


@dataclass(frozen=True)
class Books:
    """Calls, requests and changes of calls, months that are closed, and changes after each."""

    calls: list[Call]
    requests: list[Request]
    changes: list[tuple[int, int | None]]
    late_changes: list[list[tuple[int, int | None]]]
    late_requests: list[Request]
    folded_days: int


books = st.builds(
    Books,
    st.lists(calls, min_size=1, max_size=8),
    st.lists(requests, max_size=12),
    st.lists(changes, max_size=5),
    st.lists(st.lists(changes, min_size=1, max_size=5), max_size=2),
    st.lists(requests, max_size=3),
    st.integers(0, 70),
)
ranges = st.tuples(*[st.sampled_from(DAYS_AGO)] * 2).map(
    lambda ago: tuple(day_of(NOW_MS - days * DAY_MS, ZONE) for days in sorted(ago, reverse=True))
)


async def write(till: Till, happened: Books) -> None:
    for number, call in enumerate(happened.calls):
        await till.reserve(
            *(f"c{number:02}", 10**8),
            by=call.by, at=call.at_ms, images=call.images, upstream=call.upstream,
        )  # fmt: skip
        await till.settle(
            *(f"c{number:02}", call.cost),
            at=call.at_ms + call.took_minutes * 60_000,
            cost_kind=call.kind,  # type: ignore[arg-type]
        )
    await _record(till, happened.requests, "r")
    await _change(till, happened, happened.changes)
    for period, changed in zip(ENDED, happened.late_changes, strict=False):
        by = Author("test", NOW_MS)
        await till.database.write(
            lambda tx, period=period, by=by: close_month.freeze(  # type: ignore[misc]
                tx, period, by, ZONE, with_estimates=True
            )
        )
        await _change(till, happened, changed)
    await _record(till, happened.late_requests, "l")
    fee = await till.database.read(
        lambda tx: select_ledger_rows(tx, "WHERE l.kind = 'call' LIMIT 1")
    )
    await till.database.write(lambda tx: book_statement_rows(tx, [_credit(fee[0])]))


def _credit(call: LedgerRow) -> LedgerRow:
    facts = {name: getattr(call, name) for name in ("request_id", "model", "route", "credential")}
    return LedgerRow(
        **facts,
        id="adj_1", kind="adjustment", day=day_of(NOW_MS, ZONE), team="(unattributed)",
        key_id="(unattributed)", owner="", cost_centre="", tags="{}", at_ms=NOW_MS, n=0, images=0,
        upstream_request_id="", status=None, cost_nanos=-7,
    )  # fmt: skip


async def _record(till: Till, given: Sequence[Request], name: str) -> None:
    rows = [
        UsageRow(
            id=f"{name}{number:02}", at_ms=each.at_ms, day=day_of(each.at_ms, ZONE),
            request_id=f"{name}{number}", team=each.by.team, key_id=each.by.key_id,
            model=each.model, outcome=each.outcome, status=502 if each.saved % 3 == 2 else 200,
            cause="reuse" if each.saved else "", saved_nanos=each.saved, owner=each.by.owner,
            cost_centre=each.by.cost_centre, tags=each.by.tags, end_user=each.by.end_user,
        )
        for number, each in enumerate(given)
    ]  # fmt: skip
    await till.database.write(lambda tx: usage.record(tx, rows))


async def _change(till: Till, happened: Books, changed: Iterable[tuple[int, int | None]]) -> None:
    """A person corrects the cost, or the answer comes late after all."""
    for pick, cost in changed:
        name = f"c{pick % len(happened.calls):02}"
        if cost is None:
            await till.settle(name, 5, at=NOW_MS, cost_kind="computed")
        else:
            by = Author("test", NOW_MS)
            await till.database.write(
                lambda tx, name=name, cost=cost, by=by: corrections.correct(  # type: ignore[misc]
                    tx, f"req-{name}", cost, by
                )
            )


# --- the same in other words --------------------------------------------------------------


def hour(day: str, at_ms: int) -> str:
    at = datetime.fromtimestamp(at_ms / 1000, ZONE)
    first = datetime.fromisoformat(day)
    at = max(first, min(at.replace(tzinfo=None), first + timedelta(hours=23)))
    return f"{at:%Y-%m-%d %H}:00"


def group(by: str, row: LedgerRow | UsageRow, at_ms: int, **of_call: str) -> str:
    if by.startswith("tag:"):
        tags = row.tags if isinstance(row, UsageRow) else row.dimensions.tags
        found = tags if isinstance(tags, str) else tags_text(tags)
        wanted = f'"{by.removeprefix("tag:")}":"'
        return found.partition(wanted)[2].partition('"')[0] or UNTAGGED
    match by:
        case "day":
            return row.day
        case "week":
            return datetime.fromisoformat(row.day).strftime("%G-W%V")
        case "month":
            return row.day[:7]
        case "hour":
            return hour(row.day, at_ms)
        case "upstream" | "cost_kind":
            return of_call.get(by, NOT_SPLIT) or UNKNOWN
        case "owner" | "cost_centre":
            text: str = getattr(row, by)
            return f'"{text}"' if text == UNTAGGED else text or UNTAGGED
        case "key":
            return row.key_id
        case "user":
            return row.end_user or UNTAGGED
        case "model":
            return row.model or UNKNOWN
        case _:
            return row.team


Sums = dict[tuple[str, ...], tuple[int, ...]]


def money(rows: Sequence[LedgerRow], by: Sequence[str], days: tuple[str, str]) -> Sums:
    """The spending and images of each group."""
    kinds = {booked.call.id: booked.cost_kind for booked in grouped(rows)}
    calls = {row.id: row for row in rows}
    sums: defaultdict[tuple[str, ...], tuple[int, ...]] = defaultdict(lambda: (0, 0))
    for row in rows:
        if days[0] <= row.day <= days[1]:
            of = calls[row.corrects or row.id]
            facts = {"upstream": of.upstream, "cost_kind": kinds.get(of.id, of.cost_kind)}
            key = tuple(group(each, row, of.at_ms, **facts) for each in by)
            sums[key] = (sums[key][0] + row.cost_nanos, sums[key][1] + row.images)
    return {key: found for key, found in sums.items() if any(found)}


async def kept_ids(database: Database) -> set[str]:
    rows = await database.read(lambda tx: tx.fetch("SELECT id FROM usage_rows"))
    return {row["id"] for row in rows}


def asked(
    rows: Sequence[UsageRow], kept: set[str], by: Sequence[str], days: tuple[str, str]
) -> Sums:
    """The requests, errors and savings of each group."""
    sums: defaultdict[tuple[str, ...], tuple[int, ...]] = defaultdict(lambda: (0, 0, 0))
    for row in rows:
        if days[0] <= row.day <= days[1]:
            key = tuple(
                NOT_SPLIT if each == "hour" and row.id not in kept else group(each, row, row.at_ms)
                for each in by
            )
            calls, errors, saved = sums[key]
            sums[key] = (calls + 1, errors + (row.status >= 400), saved + row.saved_nanos)
    return dict(sums)


async def all_requests(till: Till) -> list[UsageRow]:
    rows = await till.database.read(
        lambda tx: tx.fetch("SELECT request_id, key_id FROM usage_rows ORDER BY id")
    )
    found = [
        await till.database.read(
            lambda tx, row=row: usage.find(tx, row["request_id"], row["key_id"])  # type: ignore[misc]
        )
        for row in rows
    ]
    return [row for row in found if row]


# --- the laws -----------------------------------------------------------------------------


def summed(line: reports.UsageLine, names: Sequence[str]) -> tuple[int, ...]:
    return tuple(getattr(line, name) for name in names)


async def hold(url: str, happened: Books, by: Sequence[str], days: tuple[str, str]) -> None:
    till = Till(open_engine(url), ZONE)
    await migrate(till.database)
    await till.open(callers=CALLERS)
    try:
        await write(till, happened)
        requests_made = await all_requests(till)
        before = day_of(NOW_MS - happened.folded_days * DAY_MS, ZONE)
        await till.database.write(lambda tx: usage.fold(tx, before, limit=3))
        kept = await kept_ids(till.database)
        await till.proven()
        rows = await till.database.read(lambda tx: select_ledger_rows(tx, "WHERE 1 = 1"))

        async def report(by: Sequence[str]) -> dict[tuple[str, ...], reports.UsageLine]:
            lines = await till.database.read(
                lambda tx: reports.usage_by(tx, ",".join(by), *days, zone=ZONE)
            )
            found = {tuple(line.groups.values()): line for line in lines}
            assert len(found) == len(lines)
            assert list(found) == sorted(found)
            return found

        lines = await report(by)
        spent = {key: summed(line, ("spent_nanos", "images")) for key, line in lines.items()}
        assert {key: sums for key, sums in spent.items() if any(sums)} == money(rows, by, days)
        alone = await till.database.read(
            lambda tx: reports.spent_by(tx, ",".join(by), *days, zone=ZONE)
        )
        assert {key: nanos for key, nanos in alone.items() if nanos} == {
            key: line.spent_nanos for key, line in lines.items() if line.spent_nanos
        }
        counted = {
            key: summed(line, ("calls", "errors", "saved_nanos")) for key, line in lines.items()
        }
        assert {key: sums for key, sums in counted.items() if any(sums)} == asked(
            requests_made, kept, by, days
        )
        for line in lines.values():
            assert sum(line.outcomes.values()) == line.calls
            assert sum(line.saved.values()) == line.saved_nanos
        assert summed(reports.total_of(lines.values()), SUMS) == summed(
            reports.total_of((await report(["team"])).values()), SUMS
        )
        kept_dimensions = [name for name in by if name not in (*BY_CALL, "hour")] or ["team"]
        finer = await report([*kept_dimensions, "hour", "upstream"])
        coarser = await report(kept_dimensions)
        folded: dict[tuple[str, ...], reports.UsageLine] = {}
        for key, line in finer.items():
            folded.setdefault(key[:-2], reports.UsageLine()).add(line)
        assert {key: summed(line, SUMS) for key, line in folded.items()} == {
            key: summed(line, SUMS) for key, line in coarser.items() if any(summed(line, SUMS))
        }
    finally:
        await till.database.close()


def check(new_url: Callable[[], str], examples: int) -> None:
    @settings(max_examples=examples, suppress_health_check=list(HealthCheck))
    @given(books, groupings, ranges)
    def law(happened: Books, by: list[str], days: tuple[str, str]) -> None:
        asyncio.run(hold(new_url(), happened, by, days))

    law()


@pytest.mark.parametrize("times", EXAMPLES)
def test_every_grouping_is_the_ledgers_on_sqlite(tmp_path: Path, times: int) -> None:
    numbers = count()
    check(lambda: f"sqlite:{tmp_path / str(next(numbers)) / 'gateway.db'}", 10 * times)


@pytest.mark.parametrize("times", EXAMPLES)
def test_every_grouping_is_the_ledgers_on_postgres(postgres_url: str, times: int) -> None:
    check(lambda: fresh_schema(postgres_url), 3 * times)
