"""Verification: compares every sum with the rows that it was made of.

Balances are compared with the ledger and the open reservations, the money in roll-ups with the
ledger, their requests with the single requests while those are kept, coarser roll-ups with these,
and closed months with their sealed contents. Verification proves nothing about the upstream's bill.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from gateway.database.database import Row, Transaction
from gateway.ledger.tables.close_month import Closing, closings, contents_of
from gateway.ledger.tables.closed_days import closed_through
from gateway.ledger.tables.ledger_rows import STILL_ESTIMATED, standing
from gateway.ledger.tables.rollups import Dimensions
from gateway.model.windows import TOTAL, days_before

_MONEY = (
    "spent_nanos", "images", "paid_calls", "estimated_calls", "estimated_nanos",
    "corrections_nanos",
)  # fmt: skip
_REQUESTS = ("calls", "errors", "saved_nanos")
_BALANCE = ("spent_nanos", "held_nanos", "images", "images_held")
_DIMENSIONS = ", ".join(Dimensions._fields)
_NEVER = "9999-12-31"


def _differing(keys: str, sums: Sequence[str], booked: str, proven: str) -> str:
    """Selects the groups of `keys` whose sums in the two tables differ."""
    of_booked = ", ".join(f"{name} AS b_{name}, 0 AS p_{name}" for name in sums)
    of_proven = ", ".join(f"0 AS b_{name}, {name} AS p_{name}" for name in sums)
    both = [f"{side}_{name}" for name in sums for side in "bp"]
    added = ", ".join(f"CAST(SUM({name}) AS BIGINT) AS {name}" for name in both)
    differ = " OR ".join(f"SUM(b_{name}) <> SUM(p_{name})" for name in sums)
    return (
        f"SELECT {keys}, {added} FROM (SELECT {keys}, {of_booked} FROM {booked} "
        f"UNION ALL SELECT {keys}, {of_proven} FROM {proven}) x GROUP BY {keys} HAVING {differ}"
    )


_ESTIMATE_AGAIN = (
    "(CASE WHEN COALESCE(b.standing, 0) + c.standing = 0 THEN 1 ELSE 0 END"
    " - CASE WHEN COALESCE(b.standing, 0) = 0 THEN 1 ELSE 0 END)"
)
"""Of a call with late corrections `c` on a day and `b` before: 1 if it became an estimate again on
that day, -1 if it was one until then."""

# A correction has the day of its call, or a later one if that was closed. There it changes the
# counts. Money in a roll-up with an outcome is a difference.
_ROLL_UPS_OF_MONEY = _differing(
    _DIMENSIONS,
    _MONEY,
    "rollups WHERE day = $1",
    """(
  SELECT l.team, l.key_id, l.model, l.owner, l.cost_centre, l.tags, '' AS outcome, '' AS cause,
    l.end_user, l.cost_nanos AS spent_nanos,
    CASE WHEN l.kind = 'call' AND l.cost_nanos + COALESCE(c.nanos, 0) > 0 THEN 1 ELSE 0 END
      AS paid_calls,
    CASE WHEN COALESCE(c.standing, 0) = 0 THEN l.estimated ELSE 0 END AS estimated_calls,
    CASE WHEN COALESCE(c.standing, 0) = 0 AND l.estimated = 1 THEN l.cost_nanos ELSE 0 END
      AS estimated_nanos,
    CASE WHEN l.kind = 'correction' THEN l.cost_nanos ELSE 0 END AS corrections_nanos, l.images
  FROM ledger l LEFT JOIN (
    SELECT corrects, CAST(SUM(cost_nanos) AS BIGINT) AS nanos, SUM({standing}) AS standing
    FROM ledger WHERE day = $1 AND corrects IS NOT NULL GROUP BY corrects
  ) c ON c.corrects = l.id WHERE l.day = $1
  UNION ALL
  SELECT k.team, k.key_id, k.model, k.owner, k.cost_centre, k.tags, '', '', k.end_user, 0,
    CASE WHEN k.cost_nanos + COALESCE(b.nanos, 0) + c.nanos > 0 THEN 1 ELSE 0 END
      - CASE WHEN k.cost_nanos + COALESCE(b.nanos, 0) > 0 THEN 1 ELSE 0 END,
    k.estimated * {again}, k.estimated * k.cost_nanos * {again}, 0, 0
  FROM (
    SELECT corrects, CAST(SUM(cost_nanos) AS BIGINT) AS nanos, SUM({standing}) AS standing
    FROM ledger WHERE day = $1 AND late_for IS NOT NULL AND corrects IS NOT NULL GROUP BY corrects
  ) c JOIN ledger k ON k.id = c.corrects AND k.day < $1 AND k.kind = 'call' LEFT JOIN (
    SELECT corrects, CAST(SUM(cost_nanos) AS BIGINT) AS nanos, SUM({standing}) AS standing
    FROM ledger WHERE day < $1 AND corrects IN (
      SELECT corrects FROM ledger WHERE day = $1 AND late_for IS NOT NULL
    ) GROUP BY corrects
  ) b ON b.corrects = k.id
) l""".replace("{standing}", standing("ledger")).replace("{again}", _ESTIMATE_AGAIN),
)
# Requests are in roll-ups with an outcome; requests in any other are a difference.
_ROLL_UPS_OF_REQUESTS = _differing(
    _DIMENSIONS,
    _REQUESTS,
    "rollups WHERE day = $1 AND (day >= $2 OR outcome = '')",
    """(
  SELECT team, key_id, model, owner, cost_centre, tags, outcome, cause, end_user, 1 AS calls,
    CASE WHEN status >= 400 THEN 1 ELSE 0 END AS errors, saved_nanos
  FROM usage_rows WHERE day = $1 AND day >= $2
) u""",
)


def _coarser(table: str, time: str, of_day: str, keys: Sequence[str]) -> str:
    """Compares a coarser table with the roll-ups; `of_day` is the time of a day."""
    return _differing(
        f"span, {', '.join(keys)}",
        (*_REQUESTS, *_MONEY),
        f"(SELECT {time} AS span, c.* FROM {table} c) b",
        f"(SELECT {of_day} AS span, r.* FROM rollups r) p",
    )


_COARSER = {
    "month roll-up ": _coarser(
        "month_rollups", "month", "SUBSTR(day, 1, 7)", Dimensions._fields[:-1]
    ),
    "team roll-up ": _coarser("team_rollups", "day", "day", ("team", "model", "outcome", "cause")),
}
# The accounts are those of `balances.booked_accounts`.
_BALANCES = """
WITH moves AS MATERIALIZED (
  SELECT COALESCE(budget_day, day) AS day, team, key_id, end_user, SUM(cost_nanos) AS spent_nanos,
    0 AS held_nanos, SUM(images) AS images, 0 AS images_held
  FROM ledger GROUP BY COALESCE(budget_day, day), team, key_id, end_user
  UNION ALL
  SELECT day, team, key_id, end_user, 0, SUM(ceiling_nanos), 0, SUM(images)
  FROM reservations GROUP BY day, team, key_id, end_user
), of_days AS MATERIALIZED (
  SELECT 'organisation' AS account, day, spent_nanos, held_nanos, images, images_held FROM moves
  UNION ALL
  SELECT 'team:' || team, day, spent_nanos, held_nanos, images, images_held FROM moves
  UNION ALL
  SELECT 'key:' || key_id, day, spent_nanos, held_nanos, images, images_held FROM moves
  UNION ALL
  SELECT 'user:team:' || team || '/' || end_user, day, spent_nanos, held_nanos, images, images_held
  FROM moves WHERE end_user <> ''
  UNION ALL
  SELECT 'user:key:' || key_id || '/' || end_user, day, spent_nanos, held_nanos, images, images_held
  FROM moves WHERE end_user <> ''
)
""" + _differing(
    "account, day",
    _BALANCE,
    "balances",
    f"""(
  SELECT account, day, spent_nanos, held_nanos, images, images_held FROM of_days
  UNION ALL
  SELECT account, '{TOTAL}', spent_nanos, held_nanos, images, images_held FROM of_days
) m""",
)
_TWICE = "SELECT r.id, r.day FROM reservations r JOIN ledger l ON l.id = r.id ORDER BY r.id"
_SUMS = (
    """
SELECT
  (SELECT CAST(SUM(cost_nanos) AS BIGINT) FROM ledger) AS spent_nanos,
  (SELECT COUNT(*) FROM ledger) AS ledger_rows,
  (SELECT CAST(SUM(ceiling_nanos) AS BIGINT) FROM reservations) AS held_nanos,
  (SELECT COUNT(*) FROM reservations) AS open_reservations,
  COUNT(*) AS estimated_calls, CAST(SUM(l.cost_nanos) AS BIGINT) AS estimated_nanos
FROM ledger l WHERE """
    + STILL_ESTIMATED
)
_DAYS = "SELECT day FROM ledger UNION SELECT day FROM rollups UNION SELECT day FROM usage_rows"
_FIRST_KEPT = """
SELECT f.day, (SELECT COUNT(*) FROM usage_rows u WHERE u.day = f.day) AS kept,
  (SELECT CAST(SUM(calls) AS BIGINT) FROM rollups r WHERE r.day = f.day) AS counted
FROM (SELECT MIN(day) AS day FROM usage_rows) f WHERE f.day IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Difference:
    """A sum that differs from its rows: its name, account and day, and both numbers."""

    what: str
    account: str
    day: str
    booked: int
    proven: int


@dataclass(frozen=True, slots=True)
class Verification:
    """The result; without differences, the ledger is proven. Sums are over all time."""

    differences: tuple[Difference, ...]
    spent_nanos: int
    held_nanos: int
    estimated_nanos: int
    estimated_calls: int
    ledger_rows: int
    open_reservations: int
    requests_from: str | None
    """The first day whose requests were proven; None if no single requests are kept."""
    closed_through: str | None = None
    """The last day of the last closed month."""


async def verify(tx: Transaction) -> Verification:
    """Compare balances, roll-ups and closed months with their rows.

    Reads all of the ledger and every single request, day by day, in one read transaction.
    """
    requests_from = await _requests_from(tx)
    found = [
        Difference("open and in the ledger", row["id"], row["day"], 1, 0)
        for row in await tx.fetch(_TWICE)
    ]
    for row in await tx.fetch(_BALANCES):
        found += _differences(row, _BALANCE, row["account"], row["day"], "")
    for day in sorted(row["day"] for row in await tx.fetch(_DAYS)):
        for row in await tx.fetch(_ROLL_UPS_OF_MONEY, day):
            found += _differences(row, _MONEY, _place(row), day, "roll-up ")
        for row in await tx.fetch(_ROLL_UPS_OF_REQUESTS, day, requests_from or _NEVER):
            found += _differences(row, _REQUESTS, _place(row), day, "roll-up ")
    for where, compare in _COARSER.items():
        for row in await tx.fetch(compare):
            found += _differences(row, (*_REQUESTS, *_MONEY), _place(row), row["span"], where)
    for closing in await closings(tx):
        found += await _changed(tx, closing)
    (sums,) = await tx.fetch(_SUMS)
    return Verification(
        differences=tuple(sorted(found, key=lambda each: (each.what, each.account, each.day))),
        requests_from=requests_from,
        closed_through=await closed_through(tx),
        **{name: number or 0 for name, number in sums.items()},
    )


async def _requests_from(tx: Transaction) -> str | None:
    """The first day of which all single requests are kept: the oldest are deleted first."""
    for row in await tx.fetch(_FIRST_KEPT):
        day: str = row["day"]
        return day if row["kept"] == row["counted"] else days_before(day, -1)
    return None


async def _changed(tx: Transaction, closing: Closing) -> list[Difference]:
    """The changes of a closed month since it was sealed."""
    if closing.contents is None:
        return []
    then, now = asdict(closing.contents), asdict(await contents_of(tx, closing))
    digests = then.pop("digest"), now.pop("digest")
    found = [
        Difference(f"closed {name.replace('_', ' ')}", "", closing.period, then[name], now[name])
        for name in then
        if then[name] != now[name]
    ]
    if digests[0] != digests[1]:
        both = " is now ".join(digest[:12] for digest in digests)
        found.append(Difference("closed digest", both, closing.period, 1, 0))
    return found


def _differences(
    row: Row, sums: Sequence[str], account: str, day: str, where: str
) -> Iterator[Difference]:
    for name in sums:
        booked, proven = row[f"b_{name}"], row[f"p_{name}"]
        if booked != proven:
            yield Difference(where + name.replace("_", " "), account, day, booked, proven)


def _place(row: Row) -> str:
    """A roll-up's key as readable text: TEAM/KEY, and its other dimensions."""
    payer = "/".join(row[name] for name in Dimensions._fields[:2] if name in row)
    named = [
        f"{name}={row[name]}"
        for name in Dimensions._fields[2:]
        if row.get(name) and (name, row[name]) != ("tags", "{}")
    ]
    return " ".join((payer, *named))
