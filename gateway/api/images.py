"""`/v1/images/…`: hands a request to the pipeline, and sends its reply or refusal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from gateway.api.asynchronous import Acceptance, serve_detached
from gateway.api.reply_headers import record_headers, reply_headers, stream_headers
from gateway.api.responses import JSON, SHUTTING_DOWN, refuse
from gateway.edits.edit_request import Incoming, Reply
from gateway.edits.purchase import INTERNAL
from gateway.edits.quotation import Quotation
from gateway.model.caller import Caller
from gateway.model.edit import Route
from gateway.model.errors import Refusal
from gateway.queries.models.quote import quote_document
from gateway.runtime.container import Container
from gateway.server.exchange import ClientDisconnected, Exchange
from gateway.telemetry.request_record import RequestRecord
from gateway.telemetry.spans import Span
from gateway.wire.preference import prefers_async

CUT_SHORT = Refusal(
    "upstream_timeout",
    "The gateway had to stop before this edit was done. It may have been charged; ask again only "
    "if you would pay for it twice.",
)


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as the pipeline reads it. `caller` is known where the console sends it."""

    headers: Mapping[str, str]
    chunks: Callable[[], AsyncIterator[bytes]]
    caller: Caller | None = None


class ImageEndpoints:
    """Edits and generations, each with its record and its span."""

    def __init__(self, parts: Container) -> None:
        context, edits, operation = parts.context, parts.edits, parts.operation
        self._spans, self._log = context.spans, context.log
        self._pipeline, self._recorder = edits.pipeline, edits.recorder
        self._budgets = parts.budgets.service
        self._shutdown, self._detached = operation.shutdown, operation.detached
        self._answers = parts.cache.answers

    async def edit(self, exchange: Exchange) -> None:
        await self._answer("edits", exchange, Sent(exchange.headers, exchange.chunks))

    async def edit_for(self, exchange: Exchange, sent: Sent) -> None:
        """Answer the console's script as `edit` answers a client."""
        await self._answer("edits", exchange, sent)

    async def generate(self, exchange: Exchange) -> None:
        await self._answer("generations", exchange, Sent(exchange.headers, exchange.chunks))

    async def _answer(self, route: Route, exchange: Exchange, sent: Sent) -> None:
        path = f"/v1/images/{route}"
        facts = {
            "http.request.method": "POST",
            "http.route": path,
            "gateway.request_id": exchange.request_id,
        }
        with self._spans.request(f"POST {path}", exchange.headers, facts) as span:
            record = RequestRecord(
                exchange.request_id, route, self._spans, trace_id=self._spans.trace_id
            )
            if record.trace_id:
                self._log.bind(trace_id=record.trace_id)
            later = Acceptance(exchange, record, self._answers, self._log)
            work = partial(self._served, exchange, sent, record, span, later)
            if prefers_async(sent.headers) and self._detached.has_room:
                later.may_accept = True
                await serve_detached(self._detached, later, work)
            else:
                await work()

    async def _served(
        self,
        exchange: Exchange,
        sent: Sent,
        record: RequestRecord,
        span: Span,
        later: Acceptance,
    ) -> None:
        await self._serve(exchange, sent, record, later)
        span.set_attributes(record.facts())
        if record.status >= 500:
            span.fail(record.code)

    async def _serve(
        self, exchange: Exchange, sent: Sent, record: RequestRecord, later: Acceptance
    ) -> None:
        self._recorder.begin(record)
        try:
            if self._shutdown.in_progress:
                raise replace(SHUTTING_DOWN)
            incoming = self._incoming(exchange, sent, record, later)
            if sent.caller is None:
                await self._pipeline.serve(incoming, record)
            else:
                await self._pipeline.serve_caller(sent.caller, incoming, record)
        except Refusal as refusal:
            self._add_remaining_budget(record)
            await _refuse(exchange, refusal, record, later)
        except ClientDisconnected:
            record.client_left()
        except asyncio.CancelledError:
            # The server ends, and waits no longer for those who wait. The flight is not theirs:
            # it ends when the upstream's connections are closed, and is booked then.
            exchange.shorten_drain()
            if exchange.answered and not (exchange.started or later.accepted.is_set()):
                record.client_left()  # before it has taken the whole of its answer
                return
            cut = CUT_SHORT if record.fingerprint else SHUTTING_DOWN
            await _refuse(exchange, replace(cut), record, later)
        except Exception as error:  # noqa: BLE001 - a client never sees a traceback
            self._log.error("a request crashed", error)
            await _refuse(exchange, INTERNAL, record, later)
        finally:
            self._recorder.record(record)

    def _incoming(
        self, exchange: Exchange, sent: Sent, record: RequestRecord, later: Acceptance
    ) -> Incoming:
        async def begin(head: Reply) -> None:
            await exchange.start(head.status, stream_headers(head, record))

        async def answer(reply: Reply) -> None:
            self._add_remaining_budget(record)
            if later.accepted.is_set():
                await later.keep(reply, reply_headers(reply, record))
            elif exchange.started:
                await exchange.finish(reply.body)
            else:
                await exchange.answer(reply.status, reply_headers(reply, record), reply.body)

        async def tell(quotation: Quotation) -> None:
            self._add_remaining_budget(record)
            record.status = 200
            headers = {"content-type": JSON, **record_headers(record), "cache-control": "no-store"}
            await exchange.answer(200, headers, json.dumps(quote_document(quotation)).encode())

        async def accept() -> Incoming:
            return await later.accept(incoming, record_headers(record))

        incoming = Incoming(
            route=record.route,
            headers=sent.headers,
            address=exchange.address,
            chunks=sent.chunks,
            gone=exchange.wait_for_disconnect,
            begin=begin,
            send=exchange.send,
            answer=answer,
            tell=tell,
            accept=accept,
        )
        return incoming

    def _add_remaining_budget(self, record: RequestRecord) -> None:
        """What the key can spend, as last read: a hit does not wait for the state."""
        if record.caller and record.remaining_nanos is None:
            record.remaining_nanos = self._budgets.remaining(record.caller)


async def _refuse(
    exchange: Exchange, refusal: Refusal, record: RequestRecord, later: Acceptance
) -> None:
    record.refuse(refusal)
    headers = record_headers(record)
    if record.cache:
        headers["cache-status"] = record.cache.header(record.cache_control_ignored)
        headers["age"] = str(record.age_seconds or 0)
    if later.accepted.is_set():
        await later.keep_refusal(refusal, headers)
    else:
        await refuse(exchange, refusal, headers)
