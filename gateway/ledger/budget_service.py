"""The paying side of the state: reserve, settle, void, with what each failure means.

Reading or writing the state fails closed: what would cost money is refused. A settlement
that can't be written at once is tried again until it is: the money stays held meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator
from typing import Protocol
from zoneinfo import ZoneInfo

from gateway.database.database import (
    CommitUnknown,
    Database,
    Operation,
    StateUnavailable,
    Transaction,
)
from gateway.database.ids import new_id
from gateway.ledger.rules.budget import OverBudget, SpendingPaused
from gateway.ledger.tables import reserve_settle
from gateway.model.caller import Caller
from gateway.model.errors import Refusal
from gateway.model.money import usd
from gateway.model.reservation import CallFacts, Reservation, Settled, Settlement
from gateway.model.units import time_text
from gateway.model.windows import day_of
from gateway.pricing.rules import prices

HELD_WAIT_SECONDS = 5.0
REMAINING_MS = 5_000
VERDICT_MS = 250
_LOOK_AGAIN_SECONDS = 0.05
_SETTLE_AGAIN_SECONDS = 1.0
SEEN_DAYS_MS = 30 * 86_400_000


class TransactionParticipant(Protocol):
    """What goes along with a call's money, in the same transactions; each may be run again."""

    async def hold(self, tx: Transaction, reservation_id: str) -> None:
        """Before the money is held. What it raises ends the reservation."""
        ...

    async def resolve(self, tx: Transaction, reservation_id: str) -> None:
        """Before the money is settled or given back."""
        ...


class BudgetService:
    """Holds and books money for one process, `owner_id`."""

    def __init__(
        self,
        *,
        database: Database,
        owner_id: str,
        zone: ZoneInfo,
        now_ms: Callable[[], int],
        on_failure: Callable[[str, BaseException], None],
        on_used_up: Callable[[OverBudget], None] | None = None,
    ) -> None:
        self._database = database
        self._owner_id = owner_id
        self._zone = zone
        self._now_ms = now_ms
        self._on_failure = on_failure
        self._on_used_up = on_used_up
        self._queues: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._verdicts: dict[str, tuple[OverBudget, int]] = {}
        self._late: set[asyncio.Task[None]] = set()
        self._read: dict[str, tuple[int, int]] = {}
        """By key: what was last seen to be spendable, and when."""

    def remaining(self, key_id: str) -> int | None:
        """What the key could spend when that was last read; None where it was not of late."""
        nanos, read_ms = self._read.get(key_id, (0, 0))
        return nanos if self._now_ms() - read_ms <= REMAINING_MS else None

    def _note_remaining(self, key_id: str, remaining_nanos: int | None) -> None:
        if remaining_nanos is None:
            self._read.pop(key_id, None)
        else:
            self._read[key_id] = (remaining_nanos, self._now_ms())

    async def afford(self, caller: Caller, model: str, *, price_nanos: int, images: int) -> None:
        """Raise what `reserve` would now, unless waiting may cure it; holds nothing.

        For who is to wait before money is held: without any there is no point in it.
        """
        now_ms = self._now_ms()

        async def look(tx: Transaction) -> None:
            seen = await reserve_settle.highest_cost(
                tx, model, day_of(now_ms - SEEN_DAYS_MS, self._zone)
            )
            await reserve_settle.afford(
                tx,
                caller,
                ceiling_nanos=prices.ceiling(price_nanos, seen, images),
                images=images,
                now_ms=now_ms,
                zone=self._zone,
            )

        with self._refusals():
            try:
                await self._database.read(look)
            except OverBudget as over:
                if not over.held_only:
                    raise self._used_up(over) from None

    async def reserve(
        self,
        caller: Caller,
        facts: CallFacts,
        *,
        price_nanos: int,
        images: int,
        along: TransactionParticipant | None = None,
        on_wait: Callable[[], None] | None = None,
    ) -> reserve_settle.Granted:
        """Hold the most that a call can cost. Raises Refusal where it may not be paid for.

        `on_wait` is called before it waits for money that calls in flight hold.
        """
        try:
            return await self._hold(caller, facts, price_nanos, images, along)
        except OverBudget as over:
            if not over.held_only:
                raise self._used_up(over) from None
            blocked_by = over.account.id
        if on_wait:
            on_wait()
        deadline = asyncio.get_running_loop().time() + HELD_WAIT_SECONDS
        return await self._wait_for_money(
            caller, facts, price_nanos, images, along, blocked_by=blocked_by, deadline=deadline
        )

    async def _wait_for_money(
        self,
        caller: Caller,
        facts: CallFacts,
        price_nanos: int,
        images: int,
        along: TransactionParticipant | None,
        *,
        blocked_by: str,
        deadline: float,
    ) -> reserve_settle.Granted:
        """Wait for money in flight, one asker an account at a time, in the order they came."""
        clock = asyncio.get_running_loop().time
        queue = self._queues[blocked_by]
        last: OverBudget | None = None
        try:
            async with asyncio.timeout_at(deadline):
                await queue.acquire()
        except TimeoutError:
            raise _held(blocked_by) from None
        try:
            while clock() < deadline:
                if known := self._known_used_up(blocked_by, price_nanos * images, images):
                    raise self._used_up(known) from None
                try:
                    return await self._hold(caller, facts, price_nanos, images, along)
                except OverBudget as over:
                    if not over.held_only:
                        self._verdicts[over.account.id] = (over, self._now_ms())
                        raise self._used_up(over) from None
                    last = over
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        finally:
            queue.release()
        raise _held(blocked_by, last)

    def _known_used_up(self, account_id: str, nanos: int, images: int) -> OverBudget | None:
        """What the one before in the queue has just been told, where it holds for this one too.

        So a crowd that waits for money in flight is answered when there is none left, and does
        not ask the state one by one.
        """
        over, at_ms = self._verdicts.get(account_id, (None, 0))
        if over is None or self._now_ms() - at_ms > VERDICT_MS:
            return None
        asked = nanos if over.kind == "budget" else images
        return over if asked >= over.needed else None

    async def _hold(
        self,
        caller: Caller,
        facts: CallFacts,
        price_nanos: int,
        images: int,
        along: TransactionParticipant | None,
    ) -> reserve_settle.Granted:
        now_ms = self._now_ms()
        reservation_id = new_id("rsv_")
        since = day_of(now_ms - SEEN_DAYS_MS, self._zone)

        async def hold(tx: Transaction) -> reserve_settle.Granted:
            if along:
                await along.hold(tx, reservation_id)
            seen = await reserve_settle.highest_cost(tx, facts.model, since)
            return await reserve_settle.reserve(
                tx,
                caller,
                facts,
                reservation_id=reservation_id,
                ceiling_nanos=prices.ceiling(price_nanos, seen, images),
                images=images,
                owner_id=self._owner_id,
                now_ms=now_ms,
                zone=self._zone,
            )

        with self._refusals():
            try:
                granted = await self._database.write(hold, together=True)
            except CommitUnknown:
                # It may have been written: what it held must not stay held.
                self._in_background(self._void(reservation_id, along))
                raise
        self._note_remaining(caller.key_id, granted.remaining_nanos)
        return granted

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        """What the client is told where the books say no, or nothing; OverBudget goes through."""
        try:
            yield
        except SpendingPaused as paused:
            raise Refusal(
                "spending_paused",
                f"Spending is paused for this {paused.level}: nothing new is bought until it is "
                "resumed; pictures that are stored are still served.",
                facts={"level": paused.level},
            ) from None
        except StateUnavailable as error:
            self._on_failure("reserve", error)
            raise Refusal(
                "state_unavailable",
                "The gateway can't reach its books, so it buys nothing now; nothing was charged. "
                "Try again shortly.",
                retry_after_seconds=2,
            ) from None

    def _used_up(self, over: OverBudget) -> Refusal:
        if self._on_used_up:
            self._on_used_up(over)
        return _used_up(over)

    async def settle(
        self,
        key_id: str,
        reservation: Reservation,
        settlement: Settlement,
        along: TransactionParticipant | None = None,
    ) -> Settled:
        """Book what a call cost. Never raises for an unreachable state: it is written later.

        Dated to now, also when written later: a statement is matched by when its calls ended.
        """
        now_ms = self._now_ms()

        async def book(tx: Transaction) -> Settled:
            if along:
                await along.resolve(tx, reservation.id)
            return await reserve_settle.settle(
                tx, reservation.id, settlement, now_ms=now_ms, zone=self._zone
            )

        try:
            settled = await self._database.write(book, together=True)
        except StateUnavailable as error:
            self._on_failure("settle", error)
        else:
            self._note_remaining(key_id, settled.remaining_nanos)
            return settled
        self._in_background(self._until_written(book))
        cost = settlement.cost_nanos
        return Settled(
            reservation_id=reservation.id,
            cost_nanos=reservation.ceiling_nanos if cost is None else cost,
            estimated=cost is None,
        )

    async def void(
        self, reservation: Reservation, along: TransactionParticipant | None = None
    ) -> None:
        """Give back what was held for a call that never left."""
        await self._void(reservation.id, along)

    async def _void(self, reservation_id: str, along: TransactionParticipant | None) -> None:
        async def release(tx: Transaction) -> bool:
            if along:
                await along.resolve(tx, reservation_id)
            return await reserve_settle.void(tx, reservation_id)

        try:
            await self._database.write(release, together=True)
        except StateUnavailable as error:
            self._on_failure("void", error)
            self._in_background(self._until_written(release))

    async def _until_written(self, operation: Operation[object]) -> None:
        while True:
            await asyncio.sleep(_SETTLE_AGAIN_SECONDS)
            try:
                await self._database.write(operation)
            except StateUnavailable as error:
                self._on_failure("write again", error)
            else:
                return

    def _in_background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    @property
    def unwritten(self) -> int:
        """How many settlements and releases still wait for the state."""
        return len(self._late)

    async def drain(self, seconds: float) -> int:
        """Wait for what is still to be written; how much was left after so long."""
        if self._late:
            await asyncio.wait(set(self._late), timeout=seconds)
        return len(self._late)


def _amounts(over: OverBudget) -> dict[str, object]:
    resets = None if over.resets_ms is None else time_text(over.resets_ms)
    as_text = usd if over.kind == "budget" else str
    unit = "_usd" if over.kind == "budget" else "_images"
    return {
        "level": over.level,
        "limit": as_text(over.limit),
        "spent": as_text(over.spent),
        "held": as_text(over.held),
        "needed": as_text(over.needed),
        "unit": unit.lstrip("_"),
        "resets_at": resets,
    }


def _used_up(over: OverBudget) -> Refusal:
    facts = _amounts(over)
    if over.kind == "budget":
        what = (
            f"This {over.level}'s budget of ${facts['limit']} has ${facts['spent']} spent and "
            f"${facts['held']} held, and this edit is reserved at ${facts['needed']}"
        )
    else:
        what = (
            f"This {over.level} may buy {facts['limit']} pictures a day and has bought "
            f"{facts['spent']}; this edit asks for {facts['needed']}"
        )
    when = f"; it resets at {facts['resets_at']}" if facts["resets_at"] else ""
    return Refusal(
        "insufficient_quota",
        f"{what}{when}. Ask whoever runs the gateway to raise it; pictures that are stored are "
        "still served.",
        facts=facts,
    )


def _held(account_id: str, over: OverBudget | None = None) -> Refusal:
    level = account_id.partition(":")[0]
    return Refusal(
        "budget_held",
        f"What is left of this {level}'s budget is held by edits that are still running; try "
        "again when one has finished.",
        facts=_amounts(over) if over else {"level": level},
        retry_after_seconds=5,
    )
