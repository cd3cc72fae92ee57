"""Money for upstream calls: check, reserve, settle, void.

An unreachable state fails closed: a call that would cost money is refused. A settlement or
void that cannot be written is retried until it is written; the money stays held meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator, MutableMapping
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar
from weakref import WeakValueDictionary
from zoneinfo import ZoneInfo

from gateway.accounts.rules.end_users import OTHERS, unnamed
from gateway.database.database import (
    CommitUnknown,
    Database,
    Operation,
    StateUnavailable,
    Transaction,
)
from gateway.database.ids import new_id
from gateway.ledger.rules import budget_refusals
from gateway.ledger.rules.budget import (
    EndUserMissing,
    OverBudget,
    SpendingPaused,
    TooManyInFlight,
    images_left,
    spendable,
)
from gateway.ledger.tables import end_users, price_status, reserve_settle
from gateway.ledger.tables.balances import balances_of
from gateway.ledger.tables.corrections import UnknownReservation
from gateway.ledger.tables.picture_costs import (
    highest_cost,
    highest_overrun,
    latest_cost,
    seen_since,
)
from gateway.model.caller import Caller
from gateway.model.errors import Refusal
from gateway.model.reservation import Reservation, Settled, Settlement
from gateway.model.windows import day_of
from gateway.pricing.rules.ceilings import Quote, odd_price

Result = TypeVar("Result")
HELD_WAIT_SECONDS = 5.0
REMAINING_MS = 5_000
VERDICT_MS = 250
_MOST_REMAINING = 10_000
_POLL_SECONDS = 0.05
_WRITE_RETRY_SECONDS = 1.0


class TransactionParticipant(Protocol):
    """Writes in the transactions that move a call's money. Each may be run more than once."""

    async def hold(self, tx: Transaction, reservation_id: str) -> None:
        """Runs before the money is held. Whatever it raises rolls the reservation back."""
        ...

    async def confirm(self, tx: Transaction) -> None:
        """Runs once the accounts are locked, until the transaction ends. Raises as `hold` does."""
        ...

    async def resolve(self, tx: Transaction, reservation_id: str) -> None:
        """Runs before the money is settled or voided."""
        ...


@dataclass(frozen=True, slots=True)
class Costs:
    """What a call would cost.

    `ceiling_nanos` is what would be held for it. `likely_nanos` is what such pictures cost at most
    on the last day on which one was bought; None if none was. `must_wait`: calls in flight hold
    what it needs.
    """

    ceiling_nanos: int
    likely_nanos: int | None
    must_wait: bool = False


@dataclass(frozen=True, slots=True)
class Left:
    """What a caller can still buy: the least of all levels; None is unlimited."""

    nanos: int | None = None
    images: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class BudgetService:
    """Reserves and books money for one process, `owner_id`."""

    database: Database
    owner_id: str
    zone: ZoneInfo
    now_ms: Callable[[], int]
    on_failure: Callable[[str, BaseException], None]
    on_used_up: Callable[[OverBudget, Caller], None] = lambda _over, _caller: None
    console_url: str = ""
    """Where budgets are seen and asked for; "" where there is no such page."""
    write_failure: Callable[[], StateUnavailable | None] = lambda: None
    """Why the state can't be written at present, if it is known already."""
    most_end_users: int = 10_000
    """The number of end users of a team that are told apart."""
    _queues: MutableMapping[str, asyncio.Lock] = field(
        init=False, default_factory=WeakValueDictionary
    )
    _verdicts: dict[str, tuple[OverBudget, int]] = field(init=False, default_factory=dict)
    _late: set[asyncio.Task[None]] = field(init=False, default_factory=set)
    _remaining: dict[tuple[str, str], tuple[int, int]] = field(init=False, default_factory=dict)
    """By key and end user: the spendable amount as last read, and when."""

    @property
    def today(self) -> str:
        """The day in which a reservation made now is booked."""
        return day_of(self.now_ms(), self.zone)

    def remaining(self, caller: Caller) -> int | None:
        """The caller's spendable amount, if it was read lately."""
        nanos, read_ms = self._remaining.get((caller.key_id, caller.end_user), (0, 0))
        return nanos if self.now_ms() - read_ms <= REMAINING_MS else None

    def _keep_remaining(self, caller: Caller, remaining_nanos: int | None) -> None:
        name = (caller.key_id, caller.end_user)
        self._remaining.pop(name, None)
        if remaining_nanos is not None:
            self._remaining[name] = (remaining_nanos, self.now_ms())
        if len(self._remaining) > _MOST_REMAINING:
            del self._remaining[next(iter(self._remaining))]

    # --- check ------------------------------------------------------------------------

    async def check(self, quote: Quote) -> int:
        """Raise the refusal that `reserve` would raise now, unless waiting may cure it.

        Holds nothing. Returns the amount that would be held. Spares a request without money the
        wait for an upstream slot.
        """
        now_ms = self.now_ms()

        async def check(tx: Transaction) -> int:
            return (await self._checked(tx, quote, now_ms))[0]

        with self._as_refusals():
            if failure := self.write_failure():
                raise failure
            try:
                return await self.database.read(check)
            except OverBudget as over:
                raise self._used_up(over, quote) from None

    async def quote(self, quote: Quote) -> Costs:
        """What this call would cost now. Holds nothing. Raises Refusal as `check` does."""
        now_ms = self.now_ms()

        async def read(tx: Transaction) -> Costs:
            ceiling_nanos, must_wait = await self._checked(tx, quote, now_ms)
            seen = await latest_cost(tx, quote.call.price_key)
            likely = None if seen is None else min(ceiling_nanos, seen * quote.images)
            return Costs(ceiling_nanos, likely, must_wait)

        with self._as_refusals():
            if failure := self.write_failure():
                raise failure
            try:
                return await self.database.read(read)
            except OverBudget as over:
                raise self._refusal(over, quote) from None

    async def left(self, caller: Caller) -> Left:
        """What the caller can still buy now. Raises Refusal where the state can't be read."""
        day = day_of(self.now_ms(), self.zone)

        async def read(tx: Transaction) -> Left:
            name = await end_users.counted_as(tx, caller.team, caller.end_user, self.most_end_users)
            balances = await balances_of(tx, caller.accounts, day, self.zone, end_user=name)
            return Left(spendable(balances), images_left(balances))

        with self._as_refusals():
            return await self.database.read(read)

    async def _checked(self, tx: Transaction, quote: Quote, now_ms: int) -> tuple[int, bool]:
        """What would be held now, and whether calls in flight hold it. Raises as `check` does."""
        named = await self._as_counted(tx, quote)
        priced, ceiling_nanos = await self._priced(tx, named, now_ms)
        try:
            await reserve_settle.check(
                tx, priced, ceiling_nanos=ceiling_nanos, now_ms=now_ms, zone=self.zone
            )
        except OverBudget as over:
            if not over.held_only:
                raise
            return ceiling_nanos, True
        return ceiling_nanos, False

    async def _as_counted(self, tx: Transaction, quote: Quote) -> Quote:
        """The quote for the end user in whose name it would be booked now."""
        caller = quote.caller
        if not caller.end_user:
            return quote
        name = await end_users.counted_as(tx, caller.team, caller.end_user, self.most_end_users)
        return replace(quote, caller=replace(caller, end_user=name))

    async def _enrolled(self, tx: Transaction, quote: Quote, now_ms: int) -> Quote:
        """The quote for the end user in whose name it is booked, who is told apart from now on."""
        caller, name = quote.caller, quote.caller.end_user
        if not name:
            return quote
        known = await end_users.enrol(tx, caller.team, [name], self.most_end_users, now_ms)
        if name in known:
            return quote
        return replace(quote, caller=replace(caller, end_user=OTHERS))

    async def _priced(self, tx: Transaction, quote: Quote, now_ms: int) -> tuple[Quote, int]:
        """The quote at a confirmed price, and the amount to hold. Raises `price_unconfirmed`."""
        call, since_day = quote.call, seen_since(day_of(now_ms, self.zone))
        status = await price_status.status_of(tx, call.upstream, call.model)
        if status.stopped_nanos is not None:
            raise budget_refusals.price_unconfirmed(call.model, status.stopped_nanos)
        priced = quote.at_least(status.confirmed_nanos)
        seen = highest_overrun if quote.by_table else highest_cost
        return priced, priced.ceiling_nanos(await seen(tx, call.price_key, since_day))

    # --- reserve ----------------------------------------------------------------------

    async def reserve(
        self,
        quote: Quote,
        participant: TransactionParticipant | None = None,
        on_wait: Callable[[], None] = lambda: None,
    ) -> Reservation:
        """Hold the most that a call can cost. Raises Refusal where it cannot be paid for.

        `on_wait` is called before a wait for money that calls in flight hold.
        """
        try:
            return await self._hold(quote, participant)
        except OverBudget as over:
            if not over.held_only:
                raise self._used_up(over, quote) from None
            account_id = over.account.id
        deadline = asyncio.get_running_loop().time() + HELD_WAIT_SECONDS
        on_wait()
        queue = self._queues.setdefault(account_id, asyncio.Lock())
        try:
            async with asyncio.timeout_at(deadline):
                await queue.acquire()
        except TimeoutError:
            raise budget_refusals.held(account_id) from None
        try:
            return await self._hold_when_free(quote, participant, account_id, deadline)
        finally:
            queue.release()

    async def _hold_when_free(
        self,
        quote: Quote,
        participant: TransactionParticipant | None,
        account_id: str,
        deadline: float,
    ) -> Reservation:
        """Poll for money in flight. One request per account does so, in order of arrival."""
        last: OverBudget | None = None
        while asyncio.get_running_loop().time() < deadline:
            if known := self._recent_verdict(account_id, quote):
                raise self._used_up(known, quote)
            try:
                return await self._hold(quote, participant)
            except OverBudget as over:
                if not over.held_only:
                    self._keep_verdict(over)
                    raise self._used_up(over, quote) from None
                last = over
            await asyncio.sleep(_POLL_SECONDS)
        raise budget_refusals.held(account_id, last)

    def _keep_verdict(self, over: OverBudget) -> None:
        now_ms = self.now_ms()
        kept = self._verdicts.items()
        for name in [name for name, (_, at_ms) in kept if now_ms - at_ms > VERDICT_MS]:
            del self._verdicts[name]
        self._verdicts[over.account.id] = (over, now_ms)

    def _recent_verdict(self, account_id: str, quote: Quote) -> OverBudget | None:
        """The verdict the previous waiter received, if it holds for this request too.

        It answers a whole queue as soon as the money is used up, without a read per request.
        """
        over, at_ms = self._verdicts.get(account_id, (None, 0))
        if over is None or self.now_ms() - at_ms > VERDICT_MS:
            return None
        needed = quote.ceiling_nanos(None) if over.kind == "budget" else quote.images
        return over if needed >= over.needed else None

    async def _hold(self, quote: Quote, participant: TransactionParticipant | None) -> Reservation:
        now_ms, reservation_id = self.now_ms(), new_id("rsv_")

        async def hold(tx: Transaction) -> reserve_settle.Granted:
            if participant:
                await participant.hold(tx, reservation_id)
            named = await self._enrolled(tx, quote, now_ms)
            priced, ceiling_nanos = await self._priced(tx, named, now_ms)
            granted = await reserve_settle.hold(
                tx,
                priced,
                ceiling_nanos=ceiling_nanos,
                reservation_id=reservation_id,
                owner_id=self.owner_id,
                now_ms=now_ms,
                zone=self.zone,
            )
            if participant:
                await participant.confirm(tx)
            return granted

        with self._as_refusals():
            try:
                granted = await self.database.write(hold, together=True)
            except CommitUnknown:
                # The hold may have been written, and must not stay.
                self._in_background(self.void(reservation_id, participant))
                raise
        self._keep_remaining(quote.caller, granted.remaining_nanos)
        return granted.reservation

    @contextlib.contextmanager
    def _as_refusals(self) -> Iterator[None]:
        """Turn failures into refusals. OverBudget passes: the caller may wait."""
        try:
            yield
        except SpendingPaused as pause:
            raise budget_refusals.paused(pause) from None
        except EndUserMissing:
            raise unnamed() from None
        except TooManyInFlight as full:
            raise budget_refusals.in_flight(full.account) from None
        except StateUnavailable as error:
            self.on_failure("reserve", error)
            raise budget_refusals.state_unavailable(error.reason) from None

    def _used_up(self, over: OverBudget, quote: Quote) -> Refusal:
        self.on_used_up(over, quote.caller)
        return self._refusal(over, quote)

    def _refusal(self, over: OverBudget, quote: Quote) -> Refusal:
        if over.level == "user":
            return budget_refusals.used_up_by_user(over)
        budget = quote.caller.budget_name(over.level)
        return budget_refusals.used_up(over, budget, self.console_url)

    # --- settle and void --------------------------------------------------------------

    async def settle(
        self,
        quote: Quote,
        reservation: Reservation,
        settlement: Settlement,
        participant: TransactionParticipant | None = None,
    ) -> Settled:
        """Book the cost of a call. Never raises: what can't be written now is written later.

        A state that lacks the reservation is an older one that was restored: the call is booked
        in it all the same. The booking is dated to now in any case, because statements are
        matched by the time at which calls ended.
        """
        now_ms = self.now_ms()

        async def book(tx: Transaction) -> Settled:
            return await reserve_settle.settle(
                tx, reservation.id, settlement, now_ms=now_ms, zone=self.zone
            )

        async def resolve(tx: Transaction) -> Settled:
            if participant:
                await participant.resolve(tx, reservation.id)
            try:
                settled = await book(tx)
            except UnknownReservation:
                named = await self._enrolled(tx, quote, now_ms)
                await reserve_settle.insert(tx, named, reservation, self.owner_id)
                settled = await book(tx)
            return await _judge_price(
                tx, quote.caller.team, reservation, settlement, settled, now_ms
            )

        if settled := await self._write("settle", resolve):
            self._keep_remaining(quote.caller, settled.remaining_nanos)
            return settled
        cost = settlement.cost_nanos
        return Settled(
            reservation_id=reservation.id,
            cost_nanos=reservation.ceiling_nanos if cost is None else cost,
            cost_kind="estimated" if cost is None else settlement.cost_kind,
        )

    async def void(
        self, reservation_id: str, participant: TransactionParticipant | None = None
    ) -> None:
        """Release the money of a call that was not charged. Writes later, as `settle` does."""

        async def void(tx: Transaction) -> None:
            if participant:
                await participant.resolve(tx, reservation_id)
            await reserve_settle.void(tx, reservation_id)

        await self._write("void", void)

    async def _write(self, act: str, operation: Operation[Result]) -> Result | None:
        """Write now, or in the background until it is written: then None."""
        try:
            return await self.database.write(operation, together=True)
        except Exception as error:  # noqa: BLE001 - the money stays held until it is written
            self.on_failure(act, error)
            self._in_background(self._write_later(operation))
            return None

    async def _write_later(self, operation: Operation[object]) -> None:
        while True:
            await asyncio.sleep(_WRITE_RETRY_SECONDS)
            try:
                await self.database.write(operation)
            except Exception as error:  # noqa: BLE001 - never given up
                self.on_failure("write again", error)
            else:
                return

    def _in_background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    @property
    def unwritten(self) -> int:
        """The number of settlements and voids that are not written yet."""
        return len(self._late)

    async def drain(self, seconds: float) -> int:
        """Wait for late writes. Returns how many are left when the time is over."""
        if self._late:
            await asyncio.wait(set(self._late), timeout=seconds)
        return len(self._late)


async def _judge_price(
    tx: Transaction,
    team: str,
    reservation: Reservation,
    settlement: Settlement,
    settled: Settled,
    now_ms: int,
) -> Settled:
    """Stop the model where its picture cost far more than its price; count what states no cost."""
    upstream, model, *_ = reservation.price_key
    odd_nanos = settlement.implausible_nanos
    stated = settlement.cost_nanos if odd_nanos is None else odd_nanos
    if stated and odd_price(stated, reservation.images, reservation.price_nanos):
        # A price that was confirmed while this call was made counts too.
        status = await price_status.status_of(tx, upstream, model)
        price_nanos = max(reservation.price_nanos, status.confirmed_nanos or 0)
        if odd := odd_price(stated, reservation.images, price_nanos):
            await price_status.stop(tx, upstream, model, odd, now_ms, team)
            return replace(settled, stopped_nanos=odd)
    if settlement.status == 200 and not stated:
        answers = 1 if stated is None else price_status.MOST_UNCOSTED  # 0 is a cost
        lifted = await price_status.count_uncosted(tx, upstream, model, answers)
        return replace(settled, price_lifted=lifted and stated is None)
    return settled
