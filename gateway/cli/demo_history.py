"""A month of made-up requests for the demo, booked by the ledger's own functions.

Every call is reserved and settled, every request recorded, so that `ledger verify`, reports and the
console show it like any other. The same day always gives the same month.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo

from gateway.accounts.rules.account_settings import AccountSettings, change_settings
from gateway.accounts.tables import grants, keys, teams
from gateway.accounts.tables.audit import Author
from gateway.accounts.tables.keys import KeyRecord
from gateway.database.database import Transaction
from gateway.database.ids import new_id
from gateway.ledger.rules.budget import OverBudget
from gateway.ledger.tables import reserve_settle, usage
from gateway.ledger.tables.balances import accounts_of
from gateway.ledger.tables.usage import UsageRow
from gateway.model.caller import Caller
from gateway.model.money import NANOS
from gateway.model.outcome import Outcome
from gateway.model.reservation import CallFacts, Settlement
from gateway.model.windows import day_of, days_before, start_ms
from gateway.pricing.rules.ceilings import Quote

DAYS = 30
_DAY_MS = 86_400_000
_CENT = NANOS // 100
PRICES = {
    "deepshi-image-1": _CENT,
    "deepshi-multi-1": 3 * _CENT,
    "deepshi-collage-14": 4 * _CENT,
    "deepshi-solo-1": _CENT // 2,
}
"""What the emulator charges for one picture."""
USERS = ("amir", "chloe", "dario", "emeka", "freya", "goran", "hana", "ines")


@dataclass(frozen=True, slots=True)
class DemoTeam:
    """A team of the demo: its keys, its requests on a working day, and how many of them hit."""

    name: str
    owner: str
    cost_centre: str
    budget_usd: str | None
    keys: tuple[str, ...]
    models: tuple[str, ...]
    requests: int
    hit_share: float


TEAMS = (
    DemoTeam(
        "web-shop", "Ada Berg", "CC-120", "20", ("product-photos", "staging"),
        ("deepshi-image-1", "deepshi-multi-1"), 46, 0.62,
    ),
    DemoTeam(
        "marketing", "Noor Hassan", "CC-210", "4.9", ("campaigns", "newsletter"),
        ("deepshi-collage-14", "deepshi-image-1"), 14, 0.35,
    ),
    DemoTeam(
        "real-estate", "Jun Park", "CC-340", "4.5", ("listings",),
        ("deepshi-multi-1", "deepshi-solo-1"), 24, 0.48,
    ),
    DemoTeam(
        "research", "Eva Lund", "CC-900", None, ("notebooks",),
        ("deepshi-image-1", "deepshi-solo-1", "deepshi-collage-14"), 9, 0.12,
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class DemoRequest:
    """One request of the month."""

    at_ms: int
    caller: Caller
    model: str
    outcome: Outcome
    fingerprint: str


class DemoHistory:
    """Writes the days that end at `now_ms`, one transaction at a time."""

    def __init__(self, now_ms: int, zone: tzinfo, upstream: str, *, days: int = DAYS) -> None:
        self._now_ms, self._zone, self._upstream, self._days = now_ms, zone, upstream, days
        self._random = random.Random(day_of(now_ms, zone))

    async def make_accounts(self, tx: Transaction) -> Sequence[tuple[DemoTeam, Caller]]:
        """The teams with their keys; gives the callers that the requests are of."""
        by = Author("the demo", self._now_ms)
        callers = []
        for team in TEAMS:
            money = {"budget_usd": team.budget_usd} if team.budget_usd else {"unlimited": True}
            terms = {**money, "owner": team.owner, "cost_centre": team.cost_centre}
            settings = change_settings(AccountSettings(), "team", terms)
            await teams.create_team(tx, team.name, settings, by)
            for name in team.keys:
                made = await keys.create_key(tx, team.name, name, AccountSettings(), by)
                callers.append((team, _caller(made.key, team)))
        return callers

    async def ask_for_money(self, tx: Transaction) -> None:
        """A grant, and an open request for one."""
        by = Author("the demo", self._now_ms, "the spring catalogue")
        await grants.grant(tx, "web-shop", 5 * NANOS, None, by, self._zone)
        asks = Author("the demo", self._now_ms, "banners for the trade fair")
        await grants.ask(tx, "marketing", 4 * NANOS, None, asks, self._zone)

    def days(self, callers: Sequence[tuple[DemoTeam, Caller]]) -> Iterator[list[DemoRequest]]:
        """The requests of each day, in their order."""
        today = day_of(self._now_ms, self._zone)
        for ago in range(self._days - 1, -1, -1):
            day = days_before(today, ago)
            begins_ms = start_ms(day, self._zone)
            found: list[DemoRequest] = []
            for i, (team, caller) in enumerate(callers):
                weekday = (begins_ms // _DAY_MS + 3) % 7
                usual = team.requests / len(team.keys) * (0.25 if weekday >= 5 else 1.0)
                number = int(usual * self._random.uniform(0.5, 1.6))
                found += [self._request(begins_ms, team, caller, i) for _ in range(number)]
            yield sorted(
                (each for each in found if each.at_ms < self._now_ms - 60_000),
                key=lambda each: each.at_ms,
            )

    def _request(self, begins_ms: int, team: DemoTeam, caller: Caller, i: int) -> DemoRequest:
        hour = min(23.9, max(0.1, self._random.gauss(13.5, 3)))
        return DemoRequest(
            at_ms=begins_ms + int(hour * 3_600_000),
            caller=replace(caller, end_user=self._random.choice(USERS)),
            model=self._random.choice(team.models),
            outcome=_outcome(team, self._random.random()),
            fingerprint=f"demo-{i}-{self._random.randrange(40)}",
        )

    async def write(self, tx: Transaction, requests: Sequence[DemoRequest]) -> None:
        """Book and record the requests of a day."""
        rows = [await self._book(tx, each) for each in requests]
        await usage.record(tx, rows)

    async def _book(self, tx: Transaction, each: DemoRequest) -> UsageRow:
        """Buy what is a miss; gives the request's row."""
        price, request_id = PRICES[each.model], new_id("req_")
        row = UsageRow(
            id=new_id("use_"),
            at_ms=each.at_ms,
            day=day_of(each.at_ms, self._zone),
            request_id=request_id,
            team=each.caller.team,
            key_id=each.caller.key_id,
            model=each.model,
            outcome=each.outcome,
            status=200,
            owner=each.caller.owner,
            cost_centre=each.caller.cost_centre,
            end_user=each.caller.end_user,
            fingerprint=each.fingerprint,
            took_us=self._random.randrange(3_000, 20_000),
        )
        if each.outcome is Outcome.HIT:
            return replace(row, cause="reuse", saved_nanos=price)
        if each.outcome is Outcome.COALESCED:
            return replace(row, cause="coalesced", saved_nanos=price)
        if each.outcome is Outcome.REFUSED:
            return replace(row, status=400, code="too_many_reference_images")
        failed = each.outcome is Outcome.FAILED
        bought = await self._buy(tx, each, request_id, None if failed else price)
        if not bought:
            return replace(row, outcome=Outcome.REFUSED, status=429, code="insufficient_quota")
        if failed:
            return replace(row, status=504, code="upstream_timeout")
        return replace(row, took_us=self._random.randrange(6_000_000, 40_000_000))

    async def _buy(
        self, tx: Transaction, each: DemoRequest, request_id: str, cost_nanos: int | None
    ) -> bool:
        """Reserve and settle one call; False where a budget does not cover it."""
        price = PRICES[each.model]
        call = CallFacts(
            request_id,
            each.model,
            fingerprint=each.fingerprint,
            references=self._random.choice((1, 1, 1, 2)),
            body_bytes=self._random.randrange(200_000, 4_000_000),
            upstream=self._upstream,
        )
        reservation_id = new_id("res_")
        quote = Quote(each.caller, call, price, 1)
        try:
            await reserve_settle.check(
                tx, quote, ceiling_nanos=price, now_ms=each.at_ms, zone=self._zone
            )
        except OverBudget:
            return False
        await reserve_settle.hold(
            tx,
            quote,
            ceiling_nanos=price,
            reservation_id=reservation_id,
            owner_id="the demo",
            now_ms=each.at_ms,
            zone=self._zone,
        )
        settlement = Settlement(
            cost_nanos,
            status=504 if cost_nanos is None else 200,
            upstream_request_id=new_id("up_"),
        )
        at_ms = each.at_ms + 9_000
        await reserve_settle.settle(tx, reservation_id, settlement, now_ms=at_ms, zone=self._zone)
        return True


def _outcome(team: DemoTeam, chance: float) -> Outcome:
    """What becomes of a request, by a number from 0 to 1."""
    if chance < team.hit_share:
        return Outcome.HIT
    if chance < team.hit_share + 0.03:
        return Outcome.COALESCED
    if chance > 0.985:
        return Outcome.REFUSED
    return Outcome.FAILED if chance > 0.975 else Outcome.MISS


def _caller(key: KeyRecord, team: DemoTeam) -> Caller:
    accounts = accounts_of(team.name, key.id)
    return Caller(key.id, key.name, team.name, *accounts, team.owner, team.cost_centre)
