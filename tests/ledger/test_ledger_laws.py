"""The laws of money, under any interleaving of what can happen to it.

A model in a few dicts is asked the same as the state: every grant, every balance and every
settled cost must be the model's, and the books must be proven after every step.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import UTC, date, timedelta
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from gateway.accounts.rules.end_users import FORGOTTEN
from gateway.accounts.tables import grants
from gateway.accounts.tables.audit import Author
from gateway.accounts.tables.grants import FOREVER
from gateway.database.migrate import migrate
from gateway.ledger.rules.abandonment import Abandonment
from gateway.ledger.rules.budget import EndUserMissing, OverBudget
from gateway.ledger.rules.usage_grouping import UNTAGGED
from gateway.ledger.tables import corrections, reports, unresolved_reservations
from gateway.ledger.tables.corrections import UnknownReservation
from gateway.ledger.tables.unresolved_reservations import Owner
from gateway.model.caller import PERIODS, Caller, Limits, Period
from gateway.model.reservation import COST_KINDS, CostKind
from gateway.model.windows import TOTAL, Window, budget_window, day_of
from tests.support.databases import open_engine
from tests.support.engines import fresh_schema
from tests.support.funds import DAY_MS, NOW_MS, Till, caller, forget

Result = TypeVar("Result")

CALLERS = (
    caller("design", "k1"),
    caller("design", "k1", end_user="ada"),
    caller("design", "k1", end_user="bob"),
    caller("design", "k2", end_user="ada"),
    caller("press", "k3"),
)
BUDGETS = {a.id: each.budget_name(a.level) for each in CALLERS for a in each.accounts}
ACCOUNTS = sorted(BUDGETS)
OF_USERS = ["team:design", "key:k1", "key:k2"]
"""The accounts whose end users may have limits."""
FLIGHT_MS, EXPIRY_MS = 600_000, 30_000
SMALL = st.integers(0, 40)
PICK = st.integers(0, 10**6)
KNOWN_KINDS = st.sampled_from(COST_KINDS[:2])


@dataclass
class Call:
    """What the model knows of one reservation."""

    id: str
    by: Caller
    day: str
    made_ms: int
    ceiling: int
    images: int
    owner_id: str
    billed: int
    state: str = "open"  # then known, estimated, voided or corrected
    booked: int = 0
    pictures: int = 0
    kind: CostKind = "stated"

    @property
    def held(self) -> int:
        return self.ceiling if self.state == "open" else 0


@dataclass
class Grant:
    """What the model knows of one grant."""

    id: str
    account: str
    nanos: int
    window: tuple[Period, str]
    last_day: str


class Money(RuleBasedStateMachine):
    """Subclassed per engine with the URL of a new, empty state."""

    new_url: ClassVar[Callable[[], str]]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.url = type(self).new_url()
        self.numbers = count()
        self.now_ms = NOW_MS
        self.calls: list[Call] = []
        self.limits: dict[str, Limits] = {}
        self.user_limits: dict[str, tuple[int | None, int | None]] = {}
        self.grants: list[Grant] = []
        self.run(self._open())
        self.run(migrate(self.till.database))
        self.run(self.till.open(callers=CALLERS))

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.runner.run(work)

    async def _open(self) -> None:
        self.till = Till(open_engine(self.url), UTC)

    def teardown(self) -> None:
        self.run(self.till.database.close())
        self.runner.close()

    # --- the model --------------------------------------------------------------------

    def paid_by(self, account: str, user: str = "") -> list[Call]:
        calls = [c for c in self.calls if account in {a.id for a in c.by.accounts}]
        return [c for c in calls if user in ("", c.by.end_user)]

    def in_window(self, account: str, user: str = "") -> list[Call]:
        days = self.window_of(account)
        return [
            c
            for c in self.paid_by(account, user)
            if days.first_day == TOTAL or days.first_day <= c.day <= days.last_day
        ]

    def window_of(self, account: str) -> Window:
        limits = self.limits.get(account, Limits())
        return budget_window(limits, day_of(self.now_ms, UTC), UTC)

    def granted(self, account: str) -> int:
        limits, today = self.limits.get(account, Limits()), day_of(self.now_ms, UTC)
        current = (limits.budget_period or TOTAL, self.window_of(account).first_day)
        return sum(
            grant.nanos
            for grant in self.grants
            if (grant.account, grant.window) == (account, current) and today <= grant.last_day
        )

    def may_buy(self, account: str, ceiling: int, images: int, user: str = "") -> bool:
        """May this account buy, or one end user of it?"""
        limits = self.limits.get(account, Limits())
        budget, most_images = limits.budget_nanos, limits.paid_images_per_day
        granted = self.granted(account)
        if user:
            budget, most_images = self.user_limits.get(account, (None, None))
            granted = 0
        taken = sum(c.booked + c.held for c in self.in_window(account, user))
        today = [c for c in self.paid_by(account, user) if c.day == day_of(self.now_ms, UTC)]
        pictures = sum(c.images if c.state == "open" else c.pictures for c in today)
        return (budget is None or taken + ceiling <= budget + granted) and (
            most_images is None or pictures + images <= most_images
        )

    def of_state(self, *states: str) -> list[Call]:
        return [c for c in self.calls if c.state in states]

    def costs(self) -> dict[str, int]:
        """The highest known cost of one image, by day."""
        seen: dict[str, int] = {}
        for call in self.of_state("known", "corrected"):
            if call.booked:
                nanos = -(-call.booked // call.images)
                seen[call.day] = max(nanos, seen.get(call.day, 0))
        return seen

    def estimate(self, call: Call) -> int:
        """The cost of a call whose answer is lost: its ceiling, or what was seen lately."""
        since = str(date.fromisoformat(call.day) - timedelta(days=30))
        seen = max((nanos for day, nanos in self.costs().items() if day >= since), default=0)
        return max(call.ceiling, seen * call.images)

    def book(
        self, call: Call, cost: int | None, status: int | None, kind: CostKind = "stated"
    ) -> None:
        estimate = self.estimate(call)
        call.kind = "estimated" if cost is None else kind
        call.state = "estimated" if cost is None else "known"
        call.booked = estimate if cost is None else cost
        charged = cost is None or cost > 0 or status == 200
        call.pictures = call.images if charged else 0
        call.billed = call.billed if cost is None else cost

    # --- what can happen --------------------------------------------------------------

    @rule(pick=PICK, ceiling=SMALL, images=st.integers(1, 3), bill=SMALL, alive=st.booleans())
    def reserve(self, pick: int, ceiling: int, images: int, bill: int, alive: bool) -> None:
        by = CALLERS[pick % len(CALLERS)]
        expected = all(
            self.may_buy(a.id, ceiling, images, user)
            for a in by.accounts
            for user in {"", by.end_user}
        )
        limits_users = any(
            limit is not None for a in by.accounts for limit in self.user_limits.get(a.id, ())
        )
        name, owner_id = f"r{next(self.numbers)}", "alive" if alive else "dead"
        try:
            self.run(
                self.till.reserve(
                    name, ceiling, images=images, by=by, at=self.now_ms, owner_id=owner_id
                )
            )
        except EndUserMissing:
            assert limits_users
            assert not by.end_user
            return
        except OverBudget:
            assert not expected
            return
        assert expected
        assert by.end_user or not limits_users
        day = day_of(self.now_ms, UTC)
        billed = min(bill, ceiling)
        self.calls.append(Call(name, by, day, self.now_ms, ceiling, images, owner_id, billed))

    @precondition(lambda self: self.of_state("open"))
    @rule(
        pick=PICK,
        cost=st.none() | SMALL | st.integers(41, 90),
        charged=st.booleans(),
        kind=KNOWN_KINDS,
    )
    def settle(self, pick: int, cost: int | None, charged: bool, kind: CostKind) -> None:
        open_calls = self.of_state("open")
        call = open_calls[pick % len(open_calls)]
        status = 200 if charged else 400
        settled = self.run(
            self.till.settle(call.id, cost, status=status, at=self.now_ms, cost_kind=kind)
        )
        self.book(call, cost, status, kind)
        assert settled.cost_kind == call.kind
        assert (settled.cost_nanos, settled.estimated) == (call.booked, cost is None)
        assert settled.overrun_nanos == max(0, call.booked - call.ceiling)

    @precondition(lambda self: self.of_state("estimated", "known", "corrected", "voided"))
    @rule(pick=PICK, cost=st.none() | SMALL, kind=KNOWN_KINDS)
    def settle_late(self, pick: int, cost: int | None, kind: CostKind) -> None:
        resolved = self.of_state("estimated", "known", "corrected", "voided")
        call = resolved[pick % len(resolved)]
        try:
            settled = self.run(self.till.settle(call.id, cost, at=self.now_ms, cost_kind=kind))
        except UnknownReservation:
            assert call.state == "voided"
            return
        assert call.state != "voided"
        if call.state == "estimated" and cost is not None:
            self.book(call, cost, 200, kind)
        assert settled.cost_kind == call.kind
        assert (settled.cost_nanos, settled.estimated) == (call.booked, call.state == "estimated")

    @precondition(lambda self: self.calls)
    @rule(pick=PICK)
    def void(self, pick: int) -> None:
        call = self.calls[pick % len(self.calls)]
        was_open = call.state == "open"
        assert self.run(self.till.void(call.id)) == was_open
        if was_open:
            call.state, call.billed = "voided", 0

    @precondition(lambda self: self.of_state("estimated", "known", "corrected"))
    @rule(pick=PICK, cost=SMALL)
    def correct_by_hand(self, pick: int, cost: int) -> None:
        resolved = self.of_state("estimated", "known", "corrected")
        call = resolved[pick % len(resolved)]
        if call.state == "known" and call.booked == cost:
            return
        by = Author("root", self.now_ms)
        row = self.run(
            self.till.database.read(
                lambda tx: tx.fetch("SELECT status FROM ledger WHERE id = $1", call.id)
            )
        )[0]
        self.run(
            self.till.database.write(lambda tx: corrections.correct(tx, f"req-{call.id}", cost, by))
        )
        if not (call.state == "corrected" and call.booked == cost):
            call.pictures = call.images if cost > 0 or row["status"] == 200 else 0
        call.state, call.booked, call.billed = "corrected", cost, cost
        call.kind = "stated"

    @rule(limit=st.integers(1, 3))
    def resolve(self, limit: int) -> None:
        async def sweep() -> set[str]:
            owner = Owner("alive", "host", 1, NOW_MS)
            await self.till.database.write(
                lambda tx: unresolved_reservations.beat(tx, owner, self.now_ms)
            )
            resolved = await self.till.database.write(
                lambda tx: unresolved_reservations.settle_abandoned(
                    tx,
                    Abandonment(self.now_ms, FLIGHT_MS, EXPIRY_MS),
                    limit=limit,
                )
            )
            return {held.id for held in resolved}

        abandoned = [
            c
            for c in self.of_state("open")
            if c.owner_id == "dead" and c.made_ms < self.now_ms - FLIGHT_MS
        ]
        abandoned.sort(key=lambda c: (c.made_ms, c.id))
        assert self.run(sweep()) == {c.id for c in abandoned[:limit]}
        for call in abandoned[:limit]:
            self.book(call, None, None)

    @rule(
        account=st.sampled_from(ACCOUNTS),
        budget=st.none() | st.integers(0, 150),
        period=st.sampled_from(PERIODS),
        weekday=st.none() | st.integers(0, 6),
        month_day=st.none() | st.integers(1, 28),
        images=st.none() | st.integers(0, 8),
    )
    def limit(
        self,
        account: str,
        budget: int | None,
        period: Period,
        weekday: int | None,
        month_day: int | None,
        images: int | None,
    ) -> None:
        self.limits[account] = Limits(
            budget_nanos=budget,
            budget_period=period,
            budget_weekday=weekday,
            budget_month_day=month_day,
            paid_images_per_day=images,
        )
        self.run(
            self.till.limit(
                account,
                budget_nanos=budget,
                budget_period=period,
                budget_weekday=weekday,
                budget_month_day=month_day,
                paid_images_per_day=images,
            )
        )

    @precondition(lambda self: self.bounded())
    @rule(pick=PICK, nanos=st.integers(1, 80), days=st.none() | st.integers(0, 40))
    def grant(self, pick: int, nanos: int, days: int | None) -> None:
        account = self.bounded()[pick % len(self.bounded())]
        limits, window = self.limits[account], self.window_of(account)
        until = None if days is None else day_of(self.now_ms + days * DAY_MS, UTC)
        made = self.run(self.till.grant(BUDGETS[account], nanos, until, at=self.now_ms))
        ends = FOREVER if window.last_day == TOTAL else window.last_day
        last_day = min(ends, until or ends)
        assert made.last_day == last_day
        period: Period = limits.budget_period or TOTAL
        self.grants.append(Grant(made.id, account, nanos, (period, window.first_day), last_day))

    def bounded(self) -> list[str]:
        return [name for name, limits in self.limits.items() if limits.budget_nanos is not None]

    @precondition(lambda self: self.grants)
    @rule(pick=PICK)
    def revoke(self, pick: int) -> None:
        ended = self.grants.pop(pick % len(self.grants))
        by = Author("root", self.now_ms)
        self.run(self.till.database.write(lambda tx: grants.revoke_grant(tx, ended.id, by)))

    @rule(
        account=st.sampled_from(OF_USERS),
        budget=st.none() | st.integers(0, 80),
        images=st.none() | st.integers(0, 5),
    )
    def limit_end_users(self, account: str, budget: int | None, images: int | None) -> None:
        self.user_limits[account] = (budget, images)
        self.run(
            self.till.limit(account, end_user_budget_nanos=budget, end_user_images_per_day=images)
        )

    @rule(user=st.sampled_from(["ada", "bob"]), team=st.sampled_from([None, "design", "press"]))
    def forget(self, user: str, team: str | None) -> None:
        self.run(forget(self.till, user, team))
        for call in self.calls:
            if (
                call.by.end_user == user
                and team != "press"
                and call.state not in ("open", "voided")
            ):
                call.by = replace(call.by, end_user=FORGOTTEN)

    @rule(later_ms=st.sampled_from([1, FLIGHT_MS + 1, DAY_MS, 6 * DAY_MS, 20 * DAY_MS]))
    def time_passes(self, later_ms: int) -> None:
        self.now_ms += later_ms

    @rule()
    def restart(self) -> None:
        self.run(self.till.database.close())
        self.run(self._open())

    # --- what always holds --------------------------------------------------------------

    @invariant()
    def the_books_are_the_models(self) -> None:
        for by in CALLERS:
            for balance in self.run(self.till.stands(at=self.now_ms, by=by)).values():
                calls = self.in_window(balance.account.id)
                assert balance.spent_nanos == sum(c.booked for c in calls)
                assert balance.held_nanos == sum(c.held for c in calls) >= 0
                assert balance.granted_nanos == self.granted(balance.account.id)

    @invariant()
    def every_end_user_has_spent_what_was_bought_for_them(self) -> None:
        first, last = day_of(NOW_MS, UTC), day_of(self.now_ms, UTC)
        lines = self.run(
            self.till.database.read(lambda tx: reports.usage_by(tx, "user", first, last))
        )
        spent = Counter[str]()
        for call in self.of_state("known", "estimated", "corrected"):
            spent[call.by.end_user or UNTAGGED] += call.booked
        assert {line.group: line.spent_nanos for line in lines if line.spent_nanos} == +spent

    @invariant()
    def the_highest_cost_is_that_of_a_call_whose_cost_is_known(self) -> None:
        rows = self.run(
            self.till.database.read(lambda tx: tx.fetch("SELECT day, max_nanos FROM picture_costs"))
        )
        assert {row["day"]: row["max_nanos"] for row in rows} == self.costs()

    @invariant()
    def the_books_are_proven_and_never_below_the_bill(self) -> None:
        proven = self.run(self.till.proven())
        assert proven.open_reservations == len(self.of_state("open"))
        assert proven.estimated_calls == len(self.of_state("estimated"))
        assert proven.spent_nanos + proven.held_nanos >= sum(c.billed for c in self.calls)

    @invariant()
    def spending_by_cost_kind_is_that_of_the_calls(self) -> None:
        first, last = day_of(NOW_MS, UTC), day_of(self.now_ms, UTC)
        lines = self.run(
            self.till.database.read(lambda tx: reports.usage_by(tx, "cost_kind", first, last))
        )
        spent = Counter[str]()
        for call in self.of_state("known", "estimated", "corrected"):
            spent[call.kind] += call.booked
        assert {line.group: line.spent_nanos for line in lines if line.spent_nanos} == +spent


def hold(new_url: Callable[[], str], examples: int) -> None:
    machine = type("MoneyOnAnEngine", (Money,), {"new_url": staticmethod(new_url)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def examples(short: int, long: int) -> pytest.MarkDecorator:
    long_form = pytest.param(long, id="long", marks=pytest.mark.long)
    return pytest.mark.parametrize("examples", [pytest.param(short, id="short"), long_form])


@examples(6, 800)
def test_the_laws_of_money_hold_on_sqlite(tmp_path: Path, examples: int) -> None:
    numbers = count()
    hold(lambda: f"sqlite:{tmp_path / str(next(numbers)) / 'gateway.db'}", examples)


@examples(2, 200)
def test_the_laws_of_money_hold_on_postgres(postgres_url: str, examples: int) -> None:
    hold(lambda: fresh_schema(postgres_url), examples)
