"""Accounts with limits, and a till that buys on them, for tests of the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo

from gateway.accounts.tables import grants
from gateway.accounts.tables.audit import Author
from gateway.accounts.tables.grants import GrantRecord
from gateway.database.database import Database, Transaction, Value
from gateway.ledger.tables import balances, forget_user, reserve_settle, verify
from gateway.ledger.tables.balances import accounts_of
from gateway.ledger.tables.ledger_rows import LedgerRow, select_ledger_rows
from gateway.ledger.tables.reserve_settle import Granted
from gateway.model.caller import Caller
from gateway.model.reservation import Balance, CallFacts, CostKind, Settled, Settlement
from gateway.model.windows import day_of
from gateway.pricing.rules.ceilings import Quote

NOW_MS = int(datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp()) * 1000
TODAY = "2026-11-25"
DAY_MS = 86_400_000
CENT = 10_000_000

_PUT = (
    "INSERT INTO accounts (id, level, parent, name, change, created_ms) "
    "VALUES ($1, $2, $3, $4, 0, 0) "
    "ON CONFLICT (id) DO NOTHING"
)


def caller(team: str = "design", key_id: str = "k1", **facts: object) -> Caller:
    """Someone with a key of that team."""
    organisation, of_team, of_key = accounts_of(team, key_id)
    return Caller(key_id, key_id, team, organisation, of_team, of_key, **facts)  # type: ignore[arg-type]


CALLER = caller(owner="ann", cost_centre="cc-7", tags={"project": "atlas"})


@dataclass(frozen=True)
class Till:
    """Buys for a caller, one transaction each; times default to `NOW_MS`."""

    database: Database
    zone: tzinfo = UTC
    caller: Caller = field(default=CALLER)

    async def open(self, *, callers: tuple[Caller, ...] = (CALLER,)) -> Till:
        """Make these callers' accounts, without limits."""

        async def put(tx: Transaction) -> None:
            for each in callers:
                for account in each.accounts:
                    parent = f"team:{each.team}" if account.level == "key" else None
                    await tx.fetch(_PUT, account.id, account.level, parent, account.name)

        await self.database.write(put)
        return self

    async def limit(self, account: str, **columns: Value) -> None:
        """Set columns of an account, such as budget_nanos or paused."""
        sets = ", ".join(f"{name} = ${index}" for index, name in enumerate(columns, 2))
        sql = f"UPDATE accounts SET {sets} WHERE id = $1"  # noqa: S608
        await self.database.write(lambda tx: tx.fetch(sql, account, *columns.values()))

    async def grant(
        self, budget: str, nanos: int, until_day: str | None = None, *, at: int = NOW_MS
    ) -> GrantRecord:
        """Raise a budget's window, through a request for it."""
        by = Author("root", at)

        async def grant(tx: Transaction) -> GrantRecord:
            asked = await grants.ask(tx, budget, nanos, until_day, by, self.zone)
            return await grants.grant_request(tx, asked.id, by, self.zone)

        return await self.database.write(grant)

    async def reserve(
        self,
        reservation_id: str,
        nanos: int = CENT,
        *,
        images: int = 1,
        by: Caller | None = None,
        at: int = NOW_MS,
        owner_id: str = "process-1",
        request_id: str = "",
        model: str = "deepshi-image-1",
        upstream: str = "",
    ) -> Granted:
        request_id = request_id or f"req-{reservation_id}"
        facts = CallFacts(request_id, model, "edits", "fp", 2, 1_000, upstream=upstream)
        return await self.database.write(
            lambda tx: reserve_settle.hold(
                tx,
                Quote(by or self.caller, facts, nanos, images),
                reservation_id=reservation_id,
                ceiling_nanos=nanos,
                owner_id=owner_id,
                now_ms=at,
                zone=self.zone,
            )
        )

    async def settle(
        self,
        reservation_id: str,
        cost: int | None = CENT,
        *,
        status: int | None = 200,
        at: int = NOW_MS,
        cost_kind: CostKind = "stated",
    ) -> Settled:
        settlement = Settlement(
            *(cost, status, f"up-{reservation_id}", "1:…abcd", 5_000), cost_kind=cost_kind
        )
        return await self.database.write(
            lambda tx: reserve_settle.settle(
                tx, reservation_id, settlement, now_ms=at, zone=self.zone
            )
        )

    async def void(self, reservation_id: str) -> bool:
        return await self.database.write(lambda tx: reserve_settle.void(tx, reservation_id))

    async def stands(self, *, at: int = NOW_MS, by: Caller | None = None) -> Mapping[str, Balance]:
        """The balances of a caller's levels, by level."""
        day = day_of(at, self.zone)
        found = await self.database.read(
            lambda tx: balances.balances_of(tx, (by or self.caller).accounts, day, self.zone)
        )
        return {balance.account.level: balance for balance in found}

    async def stands_of_user(self, by: Caller, *, at: int = NOW_MS) -> Mapping[str, Balance]:
        """The balances of the end user, by account; only where end users have limits."""
        day = day_of(at, self.zone)
        found = await self.database.read(
            lambda tx: balances.balances_of(tx, by.accounts, day, self.zone, end_user=by.end_user)
        )
        return {b.account.id: b for b in found if b.account.level == "user"}

    async def proven(self) -> verify.Verification:
        """The books, which must agree."""
        found = await self.database.read(verify.verify)
        assert found.differences == ()
        return found


async def ledger_of(tx: Transaction, request_id: str) -> list[LedgerRow]:
    """The ledger's rows of one request, corrections too, in the order of booking."""
    where = "WHERE l.request_id = $1 ORDER BY l.at_ms, l.id"
    return await select_ledger_rows(tx, where, request_id)


async def forget(till: Till, user: str, team: str | None = None) -> None:
    """Forget an end user in the books, one transaction for each day."""
    names = [user]
    for day in await till.database.read(lambda tx: forget_user.days_of(tx, names, team)):
        await till.database.write(
            lambda tx, day=day: forget_user.forget_day(tx, names, team, day)  # type: ignore[misc]
        )
