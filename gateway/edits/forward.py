"""`forward`: an order's upstream call, again where that can't buy twice.

What comes back says what may have been charged; whoever holds the money settles by it.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import secrets
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from gateway.edits.edit_request import EditRequest
from gateway.model.errors import Refusal
from gateway.model.reservation import Settlement
from gateway.pricing.rules.prices import plausible
from gateway.settings import Settings
from gateway.telemetry.log import EventLog
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.spans import Spans
from gateway.upstream.call import Answer, Broken, Payload, Unsent
from gateway.upstream.client import UpstreamClient
from gateway.upstream.limiter import Permit
from gateway.upstream.rules import refusals, retry_policy
from gateway.upstream.rules.genai_attributes import OPERATION, facts_of_call, facts_of_settlement
from gateway.wire.answer import ParsedAnswer, read_answer
from gateway.wire.events import plain_body
from gateway.wire.fields import is_streaming
from gateway.wire.multipart_writer import EncodedBody, encode

_SPREAD_SECONDS = 0.25
"""Those who wait for the same moment do not all go in it."""
_READ_AT_ONCE_BYTES = 4 << 20
"""An answer of so many bytes is read in 0.2 ms; a thread for it would take as long."""
Reason = Literal["", "unreachable", "busy", "unavailable", "key"]


@dataclass(frozen=True, slots=True)
class Answered:
    """An upstream call that brought an answer."""

    settlement: Settlement
    answer: Answer
    answered: ParsedAnswer


@dataclass(frozen=True, slots=True)
class CallFailed:
    """An upstream call that brought none.

    `settlement` None means that it provably never left: the reservation is voided.
    `alive` says that the upstream answered all the same. `may_repeat` says why trying again
    is safe, since it provably bought nothing; empty: it is not.
    """

    refusal: Refusal
    settlement: Settlement | None
    alive: bool = False
    may_repeat: Reason = ""
    asked_seconds: float = 0.0
    """How long the upstream has asked to be left alone."""


Call = Answered | CallFailed

_REASONS: Mapping[int, Reason] = {401: "key", 403: "key", 429: "busy", 503: "unavailable"}
"""Where an answer was not charged for: why another try may go better."""
_OF_ALL = frozenset({401, 402})
"""Meets everybody's calls. A 403 may be for one model, or for what a firewall reads in a prompt:
for nothing, and again and again, whoever sends such edits would close the upstream to all."""
_OF_A_KEY = frozenset({"busy", "key"})
"""Another key may go at once."""


class Forwarder:
    """Sends orders to the upstream."""

    def __init__(
        self,
        *,
        settings: Settings,
        upstream: UpstreamClient,
        metrics: Metrics,
        log: EventLog,
        spans: Spans,
    ) -> None:
        self._settings = settings.upstream
        self._upstream = upstream
        self._metrics = metrics
        for reason in filter(None, get_args(Reason)):
            metrics.upstream_retries.labels(reason)  # at 0, or the first would be in no increase
        self._log = log
        self._spans = spans

    async def forward(self, order: EditRequest, permit: Permit) -> Call:
        """Call the upstream, again where that can't buy twice. Never raises."""
        facts = facts_of_call(order.edit, self._settings.name, self._settings.base_url)
        with self._spans.call(f"{OPERATION} {order.edit.model}", facts) as span:
            call = await self._try(order, permit)
            span.note(facts_of_settlement(call.settlement))
            if isinstance(call, CallFailed):
                span.failed(call.refusal.code)
        return call

    async def _try(self, order: EditRequest, permit: Permit) -> Call:
        deadline = time.perf_counter() + self._settings.timeout_seconds
        order.broadcast.left()
        if rest := self._upstream.backoff_seconds:
            if rest > retry_policy.LONGEST_WAIT_SECONDS:
                return CallFailed(refusals.refusal_while_resting(rest), None)
            await asyncio.sleep(rest + random.random() * _SPREAD_SECONDS)
        for attempt in itertools.count(1):
            call = await self._attempt(order)
            permit.landed(_trouble(call))
            if isinstance(call, Answered) or not call.may_repeat:
                break
            keys, most = self._upstream.keys, self._settings.max_attempts
            at_once = keys > 1 and call.may_repeat in _OF_A_KEY and not call.asked_seconds
            again = retry_policy.again(
                attempt=attempt,
                max_attempts=max(most, keys) if at_once else most,
                asked_seconds=call.asked_seconds,
                jitter=random.random(),
                seconds_left=deadline - time.perf_counter(),
                at_once=at_once,
            )
            if again is None or not permit.again():
                break
            self._metrics.upstream_retries.labels(call.may_repeat).inc()
            self._log.note(
                "a call is tried again",
                reason=call.may_repeat,
                attempt=attempt,
                wait_seconds=round(again.wait_seconds, 3),
            )
            await asyncio.sleep(again.wait_seconds)
        return call

    async def _attempt(self, order: EditRequest) -> Call:
        started, result = time.perf_counter(), "failed"
        self._metrics.upstream_in_flight.inc()
        try:
            path, payload = _request(order)
            listener = order.broadcast if is_streaming(order.edit) else None
            answer = await self._upstream.send(
                path,
                payload,
                request_id=order.request_id,
                listener=listener,
                context=self._spans.outgoing(),
            )
            result = "failed" if answer.went_wrong else f"{answer.status // 100}xx"
            return await self._read(order, answer)
        except Unsent:
            result = "unsent"
            return CallFailed(refusals.refusal_of_unsent(), None, may_repeat="unreachable")
        except Broken as broken:
            result = broken.why
            settlement = Settlement(
                cost_nanos=None,
                upstream_request_id=broken.request_id,
                credential=broken.credential,
            )
            alive = broken.why == "too_large"
            return CallFailed(refusals.refusal_of_break(broken.why), settlement, alive)
        except Exception as error:  # noqa: BLE001 - it may have left: it must be settled
            self._log.fault("a call crashed", error)
            refusal = refusals.refusal_of_break("failed")
            return CallFailed(refusal, Settlement(cost_nanos=None), alive=True)
        finally:
            self._metrics.upstream_in_flight.dec()
            self._metrics.record_call(
                model=order.edit.model, result=result, seconds=time.perf_counter() - started
            )

    async def _read(self, order: EditRequest, answer: Answer) -> Call:
        settlement = Settlement(
            cost_nanos=None,
            status=answer.status,
            upstream_request_id=answer.request_id,
            credential=answer.credential,
            answer_bytes=len(answer.body),
        )
        if answer.status != 200:
            return self._refused(answer, settlement)
        try:
            if answer.last:
                answer = await asyncio.to_thread(_as_plain, answer, order.edit.model)
        except ValueError:
            return CallFailed(refusals.refusal_of_break("garbage"), settlement)
        answered = await self._understood(answer.body)
        bound = self._settings.implausible_cost_usd * order.edit.n
        cost = plausible(answered.cost_nanos, bound)
        settlement = replace(settlement, cost_nanos=cost)
        if answer.went_wrong:
            return CallFailed(refusals.refusal_of_error_event(answer.body), settlement)
        if not answered.valid:
            return CallFailed(refusals.refusal_of_break("garbage"), settlement)
        return Answered(settlement, answer, answered)

    async def _understood(self, body: bytes) -> ParsedAnswer:
        """Off the event loop where it is large: its quotes are looked for in all of it."""
        if len(body) <= _READ_AT_ONCE_BYTES:
            return read_answer(body, self._settings.cost_path)
        return await asyncio.to_thread(read_answer, body, self._settings.cost_path)

    def _refused(self, answer: Answer, settlement: Settlement) -> CallFailed:
        """What an answer that is not a 200 means: for the money, the circuit, and another try."""
        free = retry_policy.is_uncharged(answer.status, self._settings.uncharged_statuses)
        ours = answer.status in refusals.ACCOUNT_STATUSES
        if ours:
            self._metrics.account_refusals.inc()
        reason = _REASONS.get(answer.status, "") if free else ""
        if reason == "key" and not self._upstream.has_good_key:
            reason = ""
        of_key = reason in _OF_A_KEY
        asked = self._upstream.backoff_seconds if of_key else answer.retry_after_seconds
        wait = self._upstream.backoff_seconds or answer.retry_after_seconds
        refusal = refusals.refusal_of_answer(answer.status, answer.body, wait, free=free)
        return CallFailed(
            refusal,
            replace(settlement, cost_nanos=0) if free else settlement,
            alive=answer.status < 500 and (answer.status not in _OF_ALL or reason == "key"),
            may_repeat=reason,
            asked_seconds=asked or 0.0,
        )


def _trouble(call: Call) -> str:
    """What the upstream failed with, as far as others than this edit are concerned."""
    return "" if isinstance(call, Answered) or call.alive else call.refusal.code


def _as_plain(answer: Answer, model: str) -> Answer:
    """A stream's completed event as the plain answer that says the same. Raises ValueError."""
    if answer.last is None or answer.went_wrong:
        return answer
    return replace(answer, body=plain_body(answer.last, model), last=None)


def _request(order: EditRequest) -> tuple[str, Payload]:
    """The path and the body that go upstream: our own framing around what the client sent."""
    edit = order.edit
    path = f"/images/{edit.route}"
    if edit.document:
        return path, Payload("application/json", len(edit.document), _whole(edit.document))
    encoded = encode(edit, secrets.token_hex(16))
    return path, Payload(encoded.content_type, encoded.content_length, _pieces(encoded, order))


async def _whole(document: bytes) -> AsyncGenerator[bytes | memoryview, None]:
    yield document


async def _pieces(
    encoded: EncodedBody, order: EditRequest
) -> AsyncGenerator[bytes | memoryview, None]:
    for segment in encoded.segments:
        if isinstance(segment, bytes):
            yield segment
            continue
        async for chunk in order.spool.chunks(segment.offset, segment.size):
            yield chunk
