"""What alerts need to know besides budgets: spending by day, and models that are stopped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from gateway.alerts.rules.spending import DAYS_COMPARED
from gateway.database.database import Transaction
from gateway.database.multirow import fetch_named
from gateway.model.windows import days_before

_SPENT = (
    "SELECT account, day, spent_nanos FROM balances "
    "WHERE day >= $1 AND day <= $2 AND account IN {names}"
)
_STOPPED = (
    "SELECT s.upstream, s.model, s.stopped_nanos, s.stopped_ms, s.stopped_team AS team, "
    "COALESCE(a.owner, '') AS owner FROM prices s "
    "LEFT JOIN accounts a ON a.id = 'team:' || s.stopped_team WHERE s.stopped_ms IS NOT NULL"
)


@dataclass(frozen=True, slots=True)
class StoppedModel:
    """A model that is stopped since a picture cost this team so much."""

    upstream: str
    model: str
    stopped_nanos: int
    stopped_ms: int
    team: str
    owner: str


async def spent_by_day(
    tx: Transaction, accounts: Collection[str], today: str
) -> Mapping[str, Mapping[str, int]]:
    """The spending of these accounts today and on the days compared with it."""
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    since = days_before(today, DAYS_COMPARED)
    for row in await fetch_named(tx, _SPENT, accounts, since, today):
        found[row["account"]][row["day"]] = row["spent_nanos"]
    return found


async def stopped_models(tx: Transaction) -> Sequence[StoppedModel]:
    return [StoppedModel(**row) for row in await tx.fetch(_STOPPED)]
