"""The ledger's calls, at their cost with corrections, for matching with a statement."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from gateway.database.database import Row, Transaction
from gateway.database.multirow import fetch_named
from gateway.ledger.rules.statement_lines import BilledCall
from gateway.ledger.rules.statement_matching import LedgerCall
from gateway.model.windows import days_before

_KNOWN = (
    "l.id, l.request_id, l.upstream_request_id, l.cost_nanos, l.estimated, l.at_ms, l.team, "
    "l.key_id, l.model, l.upstream, COALESCE(l.late_for, l.day) AS about, c.corrected_nanos, "
    "c.corrected_id"
)


def _calls_where(which: str) -> str:
    """Selects calls with their corrections; `which` is a condition on a call `k`."""
    return (
        f"SELECT {_KNOWN} FROM ledger l LEFT JOIN ("
        "SELECT x.corrects, CAST(SUM(x.cost_nanos) AS BIGINT) AS corrected_nanos, "
        "MAX(x.upstream_request_id) AS corrected_id FROM ledger k JOIN ledger x "
        f"ON x.corrects = k.id WHERE k.kind = 'call' AND {which} GROUP BY x.corrects"
        f") c ON c.corrects = l.id WHERE l.kind = 'call' AND {which.replace('k.', 'l.')}"
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
    other_upstreams: Collection[str] = (),
) -> list[LedgerCall]:
    """The calls of these days, and those of other days that the statement names.

    Without those at other upstreams, which have statements of their own.
    """
    calls: dict[str, LedgerCall] = {}
    day = first_day
    while day <= last_day:
        for rows in (await tx.fetch(_OF_DAY, day), await tx.fetch(_LATE_FOR_DAY, day)):
            calls.update((call.id, call) for call in _known(rows, other_upstreams))
        day = days_before(day, -1)
    met = {name for call in calls.values() for name in call.upstream_ids}
    elsewhere = [each for each in billed if each.request_id not in met]
    calls.update((call.id, call) for call in await calls_named(tx, elsewhere, other_upstreams))
    return list(calls.values())


async def calls_named(
    tx: Transaction, billed: Sequence[BilledCall], other_upstreams: Collection[str] = ()
) -> list[LedgerCall]:
    """The calls that these lines name by the upstream's request id or by ours."""
    rows = await fetch_named(tx, _BY_UPSTREAM_ID, [each.request_id for each in billed])
    rows += await fetch_named(tx, _BY_OUR_ID, [each.client_request_id for each in billed])
    return list({call.id: call for call in _known(rows, other_upstreams)}.values())


def _known(rows: Iterable[Row], other_upstreams: Collection[str]) -> Iterator[LedgerCall]:
    return (_call(row) for row in rows if row["upstream"] not in other_upstreams)


def _call(row: Row) -> LedgerCall:
    ids = {row["upstream_request_id"], row["corrected_id"]}
    return LedgerCall(
        id=row["id"],
        request_id=row["request_id"],
        upstream_ids=tuple(sorted(ids - {"", None})),
        cost_nanos=row["cost_nanos"] + (row["corrected_nanos"] or 0),
        estimated=bool(row["estimated"]) and row["corrected_nanos"] is None,
        at_ms=row["at_ms"],
        day=row["about"],
        team=row["team"],
        key_id=row["key_id"],
        model=row["model"],
    )


async def held_requests(tx: Transaction, request_ids: Iterable[str]) -> set[str]:
    """Those of these requests that have a call that is not in the ledger yet."""
    sql = "SELECT request_id FROM reservations WHERE request_id IN {names}"
    return {row["request_id"] for row in await fetch_named(tx, sql, request_ids)}
