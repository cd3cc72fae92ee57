"""`forward`: an order's upstream call, again where that can't buy twice.

What comes back says what may have been charged; whoever holds the money settles by it.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from gateway.edges.journal import Journal
from gateway.edges.meters import Meters
from gateway.edges.upstream import Answer, Broken, Payload, Unsent, Upstream
from gateway.errors import Refusal
from gateway.model import Settlement
from gateway.orders import Order
from gateway.rules import attempts, failures
from gateway.rules.answers import Answered, read_answer
from gateway.rules.events import plain_body
from gateway.rules.fields import is_streaming
from gateway.rules.multipart import Encoded, encode
from gateway.rules.prices import plausible
from gateway.settings import Settings


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


class Forwarder:
    """Sends orders to the upstream."""

    def __init__(
        self, *, settings: Settings, upstream: Upstream, meters: Meters, journal: Journal
    ) -> None:
        self._settings = settings.upstream
        self._upstream = upstream
        self._meters = meters
        self._journal = journal

    async def forward(self, order: Order) -> Call:
        """Call the upstream, again where that can't buy twice. Never raises."""
        deadline = time.perf_counter() + self._settings.timeout_seconds
        order.relay.left()
        for attempt in range(1, self._settings.max_attempts + 1):
            call = await self._attempt(order)
            if isinstance(call, Bought) or not call.may_repeat:
                break
            again = attempts.again(
                attempt=attempt,
                max_attempts=self._settings.max_attempts,
                retry_after=call.retry_after,
                jitter=random.random(),
                seconds_left=deadline - time.perf_counter(),
            )
            if again is None:
                break
            self._meters.upstream_retries.labels(call.refusal.code.removeprefix("upstream_")).inc()
            await asyncio.sleep(again.wait_seconds)
        return call

    async def _attempt(self, order: Order) -> Call:
        started, result = time.perf_counter(), "failed"
        self._meters.upstream_in_flight.inc()
        try:
            path, payload = _request(order)
            listener = order.relay if is_streaming(order.edit) else None
            answer = await self._upstream.send(
                path, payload, request_id=order.request_id, listener=listener
            )
            result = "failed" if answer.went_wrong else f"{answer.status // 100}xx"
            return await self._read(order, answer)
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
            self._meters.upstream_in_flight.dec()
            self._meters.record_call(
                model=order.edit.model, result=result, seconds=time.perf_counter() - started
            )

    async def _read(self, order: Order, answer: Answer) -> Call:
        settlement = Settlement(
            cost_nanos=None,
            status=answer.status,
            upstream_request_id=answer.request_id,
            credential=answer.credential,
            answer_bytes=len(answer.body),
        )
        if answer.status != 200:
            free = attempts.is_uncharged(answer.status, self._settings.uncharged_statuses)
            refusal = failures.refusal_of_answer(answer.status, answer.body, answer.retry_after)
            if refusal.code == "upstream_account":
                self._meters.account_refusals.inc()
            return NotBought(
                refusal,
                replace(settlement, cost_nanos=0) if free else settlement,
                may_repeat=free and answer.status in attempts.RETRIED_STATUSES,
                retry_after=answer.retry_after,
            )
        try:
            answer = await asyncio.to_thread(_as_plain, answer, order.edit.model)
        except ValueError:
            return NotBought(failures.refusal_of_break("garbage"), settlement)
        answered = await asyncio.to_thread(read_answer, answer.body, self._settings.cost_path)
        bound = self._settings.implausible_cost_usd * order.edit.n
        cost = plausible(answered.cost_nanos, bound)
        settlement = replace(settlement, cost_nanos=cost)
        if answer.went_wrong:
            return NotBought(failures.refusal_of_error_event(answer.body), settlement)
        if not answered.valid:
            return NotBought(failures.refusal_of_break("garbage"), settlement)
        return Bought(settlement, answer, answered)


def _as_plain(answer: Answer, model: str) -> Answer:
    """A stream's completed event as the plain answer that says the same. Raises ValueError."""
    if answer.last is None or answer.went_wrong:
        return answer
    return replace(answer, body=plain_body(answer.last, model), last=None)


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
