"""Buying a picture: what the leader of a flight does, in the order in which it does it.

Look again, reserve, forward, settle, store. It runs as a task of the app: a client that
leaves does not stop it. After `reserve` every way out goes through `settle`.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from gateway.edges.journal import Journal
from gateway.edges.meters import Meters
from gateway.edges.spool import Spool
from gateway.edges.upstream import Answer, Broken, Payload, Unsent, Upstream
from gateway.errors import Refusal
from gateway.model import (
    Caller,
    CallFacts,
    Edit,
    Entry,
    Fingerprint,
    Reservation,
    Settled,
    Settlement,
)
from gateway.results import Results, Stored
from gateway.rules import attempts, failures
from gateway.rules.answers import Answered, read_answer
from gateway.rules.directives import Directives
from gateway.rules.entries import may_serve
from gateway.rules.multipart import Encoded, encode
from gateway.rules.prices import plausible
from gateway.settings import Settings
from gateway.treasury import Treasury


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be bought, and for whom."""

    request_id: str
    caller: Caller
    edit: Edit
    spool: Spool
    fingerprint: Fingerprint
    directives: Directives


@dataclass(frozen=True, slots=True)
class Flown:
    """What the leader's headers and journal say of a flight, however it ended."""

    settled: Settled | None = None
    upstream_seconds: float = 0.0
    upstream_request_id: str = ""
    stages: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Picture:
    """A flight that brought an answer, for everybody who waited on it."""

    entry: Entry
    shared_body: bytes
    """With a cost of 0 and what was saved: for followers and for hits."""
    body: bytes = b""
    """As the upstream sent it: for the one who paid."""
    found: bool = False
    """It was there already when the leader looked again; nothing was bought."""
    stored: bool = False
    not_stored_because: str = ""
    flown: Flown = Flown()


@dataclass(frozen=True, slots=True)
class Crash:
    """A flight that brought a refusal.

    `leaders_own` says that it is the leader's own trouble: a follower may try with its own
    money.
    """

    refusal: Refusal
    leaders_own: bool = False
    flown: Flown = Flown()


Landing = Picture | Crash


@dataclass(frozen=True, slots=True)
class Bought:
    """An upstream call that brought an answer."""

    settlement: Settlement
    answer: Answer
    answered: Answered


@dataclass(frozen=True, slots=True)
class NotBought:
    """An upstream call that brought none.

    `settlement` None means that it provably never left: the reservation is voided.
    `may_repeat` says that it provably bought nothing, so that trying again is safe.
    """

    refusal: Refusal
    settlement: Settlement | None
    may_repeat: bool = False
    retry_after: str = ""


Call = Bought | NotBought


class Buyer:
    """Carries out orders."""

    def __init__(
        self,
        *,
        settings: Settings,
        treasury: Treasury,
        results: Results,
        upstream: Upstream,
        meters: Meters,
        journal: Journal,
        digest: Callable[[bytes], str],
        now_ms: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._treasury = treasury
        self._results = results
        self._upstream = upstream
        self._meters = meters
        self._journal = journal
        self._digest = digest
        self._now_ms = now_ms

    async def buy(self, order: Order) -> Landing:
        """The whole of a flight. Never raises: what goes wrong is in the landing."""
        stages = Stages()
        try:
            return await self._buy(order, stages)
        except Refusal as refusal:
            own = refusal.code in LEADERS_OWN
            return Crash(refusal, leaders_own=own, flown=Flown(stages=stages.seconds))
        except Exception as error:  # noqa: BLE001 - a flight must land, or its followers hang
            self._journal.fault("a flight crashed", error, request_id=order.request_id)
            return Crash(INTERNAL, flown=Flown(stages=stages.seconds))
        finally:
            order.spool.close()

    async def _buy(self, order: Order, stages: Stages) -> Landing:
        with stages.time("look_again"):
            found = await self.look_again(order)
        if found:
            return Picture(found.entry, found.body, found=True, stored=True)
        with stages.time("reserve"):
            reservation = await self.reserve(order)
        with stages.time("forward"):
            call = await self.forward(order)
        with stages.time("settle"):
            settled = await self.settle(order, reservation, call)
        flown = Flown(
            settled=settled,
            upstream_seconds=stages.seconds["forward"],
            upstream_request_id=call.settlement.upstream_request_id if call.settlement else "",
            stages=stages.seconds,
        )
        if isinstance(call, NotBought) or settled is None:
            refusal = call.refusal if isinstance(call, NotBought) else INTERNAL
            return Crash(refusal, flown=flown)
        shared_body = await asyncio.to_thread(call.answered.for_sharing, settled.cost_nanos)
        picture = self._picture(order, call, shared_body, flown)
        with stages.time("store"):
            return replace(picture, stored=await self.store(picture))

    # --- look again -------------------------------------------------------------------

    async def look_again(self, order: Order) -> Stored | None:
        """Somebody may have stored it between the first look and this flight."""
        if not order.directives.may_look or order.fingerprint.uncacheable:
            return None
        stored = await self._results.get(order.fingerprint.key)
        if stored and may_serve(stored.entry, self._now_ms(), order.directives.max_age_seconds):
            return stored
        return None

    # --- reserve ----------------------------------------------------------------------

    async def reserve(self, order: Order) -> Reservation:
        """Hold the most that this call can cost, at every level. Raises Refusal."""
        model = self._settings.models.get(order.edit.model)
        price = model.price_ceiling_usd if model else None
        facts = CallFacts(
            request_id=order.request_id,
            model=order.edit.model,
            route=order.edit.route,
            fingerprint=order.fingerprint.key,
            references=len(order.edit.references),
            body_bytes=order.edit.body_bytes,
        )
        granted = await self._treasury.reserve(
            order.caller,
            facts,
            price_nanos=self._settings.upstream.price_ceiling_usd if price is None else price,
            images=order.edit.n,
        )
        return granted.reservation

    # --- forward ----------------------------------------------------------------------

    async def forward(self, order: Order) -> Call:
        """Call the upstream, again where that can't buy twice. Never raises."""
        upstream = self._settings.upstream
        deadline = time.perf_counter() + upstream.timeout_seconds
        for attempt in range(1, upstream.max_attempts + 1):
            call = await self._attempt(order)
            if isinstance(call, Bought) or not call.may_repeat:
                break
            again = attempts.again(
                attempt=attempt,
                max_attempts=upstream.max_attempts,
                retry_after=call.retry_after,
                jitter=random.random(),
                seconds_left=deadline - time.perf_counter(),
            )
            if again is None:
                break
            await asyncio.sleep(again.wait_seconds)
        return call

    async def _attempt(self, order: Order) -> Call:
        started, result = time.perf_counter(), "failed"
        try:
            path, payload = _request(order)
            answer = await self._upstream.send(path, payload, request_id=order.request_id)
            result = f"{answer.status // 100}xx"
            return await self._read(answer)
        except Unsent:
            result = "unsent"
            return NotBought(failures.refusal_of_unsent(), None, may_repeat=True)
        except Broken as broken:
            result = broken.why
            settlement = Settlement(
                cost_nanos=None,
                upstream_request_id=broken.request_id,
                credential=broken.credential,
            )
            return NotBought(failures.refusal_of_break(broken.why), settlement)
        except Exception as error:  # noqa: BLE001 - it may have left: it must be settled
            self._journal.fault("a call crashed", error, request_id=order.request_id)
            return NotBought(failures.refusal_of_break("failed"), Settlement(cost_nanos=None))
        finally:
            self._meters.record_call(
                model=order.edit.model,
                team=order.caller.team,
                result=result,
                seconds=time.perf_counter() - started,
            )

    async def _read(self, answer: Answer) -> Call:
        settlement = Settlement(
            cost_nanos=None,
            status=answer.status,
            upstream_request_id=answer.request_id,
            credential=answer.credential,
            answer_bytes=len(answer.body),
        )
        upstream = self._settings.upstream
        if answer.status != 200:
            free = attempts.is_uncharged(answer.status, upstream.uncharged_statuses)
            return NotBought(
                failures.refusal_of_answer(answer.status, answer.body, answer.retry_after),
                replace(settlement, cost_nanos=0) if free else settlement,
                may_repeat=free and answer.status in attempts.RETRIED_STATUSES,
                retry_after=answer.retry_after,
            )
        answered = await asyncio.to_thread(read_answer, answer.body, upstream.cost_path)
        cost = plausible(answered.cost_nanos, upstream.implausible_cost_usd)
        settlement = replace(settlement, cost_nanos=cost)
        if not answered.valid:
            return NotBought(failures.refusal_of_break("garbage"), settlement)
        return Bought(settlement, answer, answered)

    # --- settle -----------------------------------------------------------------------

    async def settle(self, order: Order, reservation: Reservation, call: Call) -> Settled | None:
        """Book what the call cost, or give the money back where it never left."""
        if call.settlement is None:
            await self._treasury.void(reservation)
            return None
        settled = await self._treasury.settle(reservation, call.settlement)
        if settled.cost_nanos:
            self._meters.record_cost(
                model=order.edit.model, team=order.caller.team, cost_nanos=settled.cost_nanos
            )
        return settled

    def _picture(self, order: Order, call: Bought, shared_body: bytes, flown: Flown) -> Picture:
        now_ms = self._now_ms()
        entry = Entry(
            key=order.fingerprint.key,
            team=order.caller.team,
            key_id=order.caller.key_id,
            model=order.edit.model,
            cost_nanos=flown.settled.cost_nanos if flown.settled else None,
            created_ms=now_ms,
            expires_ms=now_ms + int(self._settings.cache.ttl * 1000),
            body_digest=self._digest(shared_body),
            body_bytes=len(shared_body),
            content_type="application/json",
            request_id=order.request_id,
            upstream_request_id=call.answer.request_id,
            references=tuple(upload.digest for upload in order.edit.references),
        )
        return Picture(
            entry=entry,
            shared_body=shared_body,
            body=call.answer.body,
            not_stored_because=_why_not_stored(order, call.answered),
            flown=flown,
        )

    # --- store ------------------------------------------------------------------------

    async def store(self, picture: Picture) -> bool:
        """Keep the result, unless there is a reason not to. A broken store is only a miss."""
        if picture.not_stored_because:
            return False
        return await self._results.put(picture.entry, picture.shared_body)


LEADERS_OWN = frozenset({"insufficient_quota", "budget_held", "spending_paused"})
INTERNAL = Refusal(
    "internal_error",
    "The gateway made a mistake of its own; it is in its journal under this request's id.",
)


class Stages:
    """The seconds that each stage of a flight took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def time(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = time.perf_counter() - started


def _why_not_stored(order: Order, answered: Answered) -> str:
    if order.fingerprint.uncacheable:
        return order.fingerprint.uncacheable
    if order.directives.no_store:
        return "no-store"
    return "url-results" if answered.has_urls else ""


def _request(order: Order) -> tuple[str, Payload]:
    """The path and the body that go upstream: our own framing around what the client sent."""
    edit = order.edit
    path = f"/images/{edit.route}"
    if edit.document:
        return path, Payload("application/json", len(edit.document), _whole(edit.document))
    encoded = encode(edit, secrets.token_hex(16))
    return path, Payload(encoded.content_type, encoded.content_length, _pieces(encoded, order))


async def _whole(document: bytes) -> AsyncIterator[bytes]:
    yield document


async def _pieces(encoded: Encoded, order: Order) -> AsyncIterator[bytes]:
    for segment in encoded.segments:
        if isinstance(segment, bytes):
            yield segment
            continue
        async for chunk in order.spool.chunks(segment.offset, segment.size):
            yield chunk
