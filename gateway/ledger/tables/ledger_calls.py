"""The ledger's calls, at their cost with corrections, for matching with a statement."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gateway.database.database import Row, Transaction
from gateway.database.multirow import fetch_named
from gateway.ledger.rules.statement_lines import BilledCall
from gateway.ledger.rules.statement_matching import LedgerCall
from gateway.ledger.tables.ledger_rows import standing
from gateway.model.windows import days_before

_KNOWN = (
    "l.id, l.request_id, l.upstream_request_id, l.cost_nanos, l.estimated, l.at_ms, l.team, "
    "l.key_id, l.model, l.upstream, l.kind, l.owner, l.cost_centre, l.tags, l.route, "
    "l.upstream_model, l.batch, COALESCE(l.late_for, l.day) AS about, c.corrected_nanos, "
    "c.corrected_id, c.corrections, c.standing"
)

_ALSO = ("kind", "owner", "cost_centre", "tags", "route", "upstream_model", "batch")


def _calls_where(which: str) -> str:
    """Selects calls and adjustments with their corrections; `which` is a condition on one, `k`."""
    return (
        f"SELECT {_KNOWN} FROM ledger l LEFT JOIN ("
        "SELECT x.corrects, CAST(SUM(x.cost_nanos) AS BIGINT) AS corrected_nanos, "
        "MAX(x.upstream_request_id) AS corrected_id, COUNT(*) AS corrections, "
        f"CAST(SUM({standing('x')}) AS BIGINT) AS standing FROM ledger k JOIN ledger x "
        f"ON x.corrects = k.id WHERE k.corrects IS NULL AND {which} GROUP BY x.corrects"
        f") c ON c.corrects = l.id WHERE l.corrects IS NULL AND {which.replace('k.', 'l.')}"
    )


_OF_DAY = _calls_where("k.day = $1 AND k.late_for IS NULL")
_LATE_FOR_DAY = _calls_where("k.late_for = $1")
_BY_UPSTREAM_ID = _calls_where(
    "k.id IN (SELECT COALESCE(corrects, id) FROM ledger "
    "WHERE upstream_request_id <> '' AND upstream_request_id IN {names})"
)
_BY_OUR_ID = _calls_where("k.request_id IN {names}")


async def ledger_calls(
    tx: Transaction,
    first_day: str,
    last_day: str,
    billed: Sequence[BilledCall],
    upstream: str,
) -> list[LedgerCall]:
    """The calls and adjustments of these days, and those of other days that the statement names.

    Only those at this upstream: others have statements of their own.
    """
    calls: dict[str, LedgerCall] = {}
    day = first_day
    while day <= last_day:
        for rows in (await tx.fetch(_OF_DAY, day), await tx.fetch(_LATE_FOR_DAY, day)):
            calls.update((call.id, call) for call in _known(rows, upstream))
        day = days_before(day, -1)
    met = {name for call in calls.values() for name in call.upstream_ids}
    elsewhere = [each for each in billed if each.request_id not in met]
    calls.update((call.id, call) for call in await calls_named(tx, elsewhere, upstream))
    return list(calls.values())


async def calls_named(
    tx: Transaction, billed: Sequence[BilledCall], upstream: str
) -> list[LedgerCall]:
    """What these lines name by the upstream's request id or by ours: calls, and adjustments."""
    rows = await fetch_named(tx, _BY_UPSTREAM_ID, [each.request_id for each in billed])
    rows += await fetch_named(tx, _BY_OUR_ID, [each.client_request_id for each in billed])
    return list({call.id: call for call in _known(rows, upstream)}.values())


def is_at(row: Row, upstream: str) -> bool:
    """Is a row of this upstream? One of an earlier version names none."""
    return row["upstream"] in (upstream, "")


async def has_calls_at(tx: Transaction, upstream: str) -> bool:
    return bool(await tx.fetch("SELECT id FROM ledger WHERE upstream = $1 LIMIT 1", upstream))


def _known(rows: Iterable[Row], upstream: str) -> Iterator[LedgerCall]:
    return (_call(row) for row in rows if is_at(row, upstream))


def _call(row: Row) -> LedgerCall:
    ids = {row["upstream_request_id"], row["corrected_id"]}
    return LedgerCall(
        id=row["id"],
        request_id=row["request_id"],
        upstream_ids=tuple(sorted(ids - {"", None})),
        cost_nanos=row["cost_nanos"] + (row["corrected_nanos"] or 0),
        estimated=bool(row["estimated"]) and not row["standing"],
        at_ms=row["at_ms"],
        day=row["about"],
        team=row["team"],
        key_id=row["key_id"],
        model=row["model"],
        **{name: row[name] for name in _ALSO},
        first_nanos=row["cost_nanos"],
        corrections=row["corrections"] or 0,
    )


async def held_requests(tx: Transaction, request_ids: Iterable[str]) -> set[str]:
    """Those of these requests that have a call that is not in the ledger yet."""
    sql = "SELECT request_id FROM reservations WHERE request_id IN {names}"
    return {row["request_id"] for row in await fetch_named(tx, sql, request_ids)}
