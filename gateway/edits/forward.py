"""The stage `forward`: the upstream call of an edit, with its retries.

`call_verdict` decides what an answer or a failure means; the result says what to settle.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, get_args
from urllib.parse import quote

from gateway.edits.edit_request import EditRequest
from gateway.edits.flight_result import Answered, CallFailed, CallResult
from gateway.model.edit import Route
from gateway.model.errors import Refusal
from gateway.model.reservation import Settlement
from gateway.pricing.rules.ceilings import plausible
from gateway.telemetry.log import EventLog
from gateway.telemetry.metrics import Metrics, families
from gateway.telemetry.spans import Spans
from gateway.upstream.adapters import Adapter
from gateway.upstream.call import Answer, Broken, Unsent
from gateway.upstream.client import UpstreamClient
from gateway.upstream.limiter import Permit
from gateway.upstream.payload import payload_of
from gateway.upstream.rules import call_verdict, refusals, retry_policy
from gateway.upstream.rules.call_verdict import RetryReason
from gateway.upstream.rules.genai_attributes import OPERATION, facts_of_call, facts_of_settlement
from gateway.upstream.rules.likely_setting import likely_setting
from gateway.wire.answer import ParsedAnswer, read_answer
from gateway.wire.events import plain_body
from gateway.wire.request_fields import is_streaming

_READ_AT_ONCE_BYTES = 4 << 20
"""A larger answer is read in a thread; reading this much takes 0.2 ms, as long as a thread does."""


@dataclass(frozen=True, kw_only=True)
class Forwarder:
    """Sends edits to the upstream."""

    upstream: UpstreamClient
    upstream_name: str
    timeout_seconds: float
    max_attempts: int
    uncharged_statuses: tuple[str, ...]
    cost_path: str
    implausible_cost_nanos: int
    metrics: Metrics
    log: EventLog
    spans: Spans
    adapter: Adapter
    paths: Mapping[Route, str]
    """Of each route; `{model}` in it is the model's name."""
    section: str = "upstream"
    """The section of this upstream's settings."""
    has_answered: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        # Exported as 0, or the first event of a series would be in no increase.
        for reason in get_args(RetryReason):
            self.metrics.counter(families.UPSTREAM_RETRIES).labels(self.upstream_name, reason)
        self.metrics.counter(families.ACCOUNT_REFUSALS).labels(self.upstream_name)
        self.metrics.gauge(families.UPSTREAM_IN_FLIGHT).labels(self.upstream_name)

    async def forward(self, request: EditRequest, permit: Permit) -> CallResult:
        """Call the upstream, again where that can't buy twice. Never raises."""
        facts = facts_of_call(request.edit, self.upstream_name, self.upstream.base_url)
        with self.spans.call(f"{OPERATION} {request.target.model}", facts) as span:
            call = self._with_likely_setting(await self._try(request, permit))
            span.set_attributes(facts_of_settlement(call.settlement))
            if isinstance(call, CallFailed):
                span.fail(call.refusal.code)
        return call

    def _with_likely_setting(self, call: CallResult) -> CallResult:
        """The failure, with the setting that is likely wrong while no call has succeeded."""
        if isinstance(call, Answered):
            self.has_answered.set()
            return call
        status = call.settlement.status if call.settlement else None
        is_sound = call.verdict is call_verdict.REFUSED  # it answers, and says why it won't
        if self.has_answered.is_set() or is_sound or not (status or call.error):
            return call
        likely = likely_setting(self.section, status=status, error=call.error)
        if not likely:
            return call
        self.log.warning("no call has succeeded yet", upstream=self.upstream_name, likely=likely)
        return replace(call, refusal=refusals.with_likely_setting(call.refusal, likely))

    async def _try(self, request: EditRequest, permit: Permit) -> CallResult:
        deadline = time.perf_counter() + self.timeout_seconds
        request.broadcast.sent(self.upstream_name, request.fingerprint.key)
        wait = retry_policy.wait_before_call(self.upstream.backoff_seconds, random.random())
        if wait is None:
            return CallFailed(refusals.refusal_while_resting(self.upstream.backoff_seconds), None)
        for attempt in itertools.count(1):
            await asyncio.sleep(wait)
            call = await self._attempt(request)
            permit.report(_failure_code(call))
            if isinstance(call, Answered):
                break
            wait = retry_policy.wait_before_retry(
                call.verdict,
                attempt=attempt,
                max_attempts=self.max_attempts,
                keys=self.upstream.keys,
                jitter=random.random(),
                seconds_left=deadline - time.perf_counter(),
            )
            if wait is None or not permit.renew():
                break
            retries = self.metrics.counter(families.UPSTREAM_RETRIES)
            retries.labels(self.upstream_name, call.verdict.reason).inc()
            self.log.info(
                "a call is tried again",
                upstream=self.upstream_name,
                reason=call.verdict.reason,
                attempt=attempt,
                wait_seconds=round(wait, 3),
            )
        return call

    async def _attempt(self, request: EditRequest) -> CallResult:
        started, result = time.perf_counter(), "failed"
        in_flight = self.metrics.gauge(families.UPSTREAM_IN_FLIGHT).labels(self.upstream_name)
        in_flight.inc()
        try:
            edit = request.edit
            path = self.paths[edit.route].replace("{model}", quote(edit.model, safe=""))
            payload = payload_of(self.adapter.encode(edit, secrets.token_hex(16)), request.spool)
            streams = is_streaming(edit) and self.adapter.streams
            listener = request.broadcast if streams else None
            answer = await self.upstream.send(
                path,
                payload,
                request_id=request.request_id,
                listener=listener,
                context=self.spans.outgoing(),
            )
            result = "failed" if answer.went_wrong else f"{answer.status // 100}xx"
            return await self._read(request, answer)
        except Unsent as unsent:
            result = "unsent"
            refusal = refusals.refusal_of_unsent()
            return CallFailed(refusal, None, call_verdict.UNSENT, error=str(unsent))
        except Broken as broken:
            result = broken.why
            settlement = Settlement(
                cost_nanos=None,
                upstream_request_id=broken.request_id,
                credential=broken.credential,
            )
            verdict = call_verdict.verdict_of_broken(broken.why)
            return CallFailed(refusals.refusal_of_break(broken.why), settlement, verdict)
        except Exception as error:  # noqa: BLE001 - it may have left: it must be settled
            self.log.error("a call crashed", error)
            refusal = refusals.refusal_of_break("failed")
            return CallFailed(refusal, Settlement(cost_nanos=None), call_verdict.INTERNAL_ERROR)
        finally:
            in_flight.dec()
            self.metrics.record_call(
                upstream=self.upstream_name,
                model=request.target.model,
                result=result,
                seconds=time.perf_counter() - started,
            )

    async def _read(self, request: EditRequest, answer: Answer) -> CallResult:
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
            if answer.last and not answer.went_wrong:
                body = await asyncio.to_thread(plain_body, answer.last, request.edit.model)
                answer = replace(answer, body=body, last=None)
        except ValueError:
            return _unreadable(refusals.refusal_of_break("garbage"), settlement)
        parsed = await self._parse(answer.body)
        bound = self.implausible_cost_nanos * request.edit.n
        cost = plausible(parsed.cost_nanos, bound)
        odd = parsed.cost_nanos if cost is None and (parsed.cost_nanos or 0) > 0 else None
        settlement = replace(settlement, cost_nanos=cost, implausible_nanos=odd, usage=parsed.usage)
        if answer.went_wrong:
            return _unreadable(refusals.refusal_of_error_event(answer.body), settlement)
        if parsed.refusal:
            refusal = refusals.refusal_in_answer(parsed.refusal)
            return CallFailed(refusal, settlement, call_verdict.REFUSED)
        if not parsed.valid:
            return _unreadable(refusals.refusal_of_break("garbage"), settlement)
        return Answered(settlement, answer, parsed)

    async def _parse(self, body: bytes) -> ParsedAnswer:
        """Off the event loop where it is large: its quotes are looked for in all of it."""
        created = int(time.time())

        def to_openai(answer: dict[str, Any]) -> dict[str, Any]:
            return self.adapter.to_openai(answer, created)

        if len(body) <= _READ_AT_ONCE_BYTES:
            return read_answer(body, self.cost_path, to_openai)
        return await asyncio.to_thread(read_answer, body, self.cost_path, to_openai)

    def _refused(self, answer: Answer, settlement: Settlement) -> CallFailed:
        """An answer that is not a 200."""
        backoff = self.upstream.backoff_seconds
        verdict = call_verdict.verdict_of_answer(
            answer.status,
            uncharged=self.uncharged_statuses,
            retry_after_seconds=answer.retry_after_seconds,
            backoff_seconds=backoff,
            has_good_key=self.upstream.has_good_key,
            account_code=bool(answer.account_code),
        )
        refusal = refusals.refusal_of_answer(
            answer.status,
            answer.body,
            backoff or answer.retry_after_seconds,
            charged=verdict.charged,
            location=answer.location,
            account_code=answer.account_code,
        )
        if refusal.code == "upstream_account":
            self.metrics.counter(families.ACCOUNT_REFUSALS).labels(self.upstream_name).inc()
        cost = settlement if verdict.charged else replace(settlement, cost_nanos=0)
        return CallFailed(refusal, cost, verdict)


def _unreadable(refusal: Refusal, settlement: Settlement) -> CallFailed:
    return CallFailed(refusal, settlement, call_verdict.UNREADABLE)


def _failure_code(call: CallResult) -> str:
    """The code that the circuit breaker counts; empty where the upstream is sound."""
    if isinstance(call, CallFailed) and call.verdict.opens_circuit:
        return call.refusal.code
    return ""
