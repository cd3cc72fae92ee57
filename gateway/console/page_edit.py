"""An edit that a page makes or quotes for its visitor, by the pipeline of every edit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace

from gateway.api.responses import SHUTTING_DOWN
from gateway.console.page import PageRequest
from gateway.console.payer import PayingKey
from gateway.edits.edit_request import Incoming, Reply
from gateway.edits.quotation import Quotation
from gateway.model.errors import Refusal
from gateway.telemetry.request_record import RequestRecord
from gateway.wire.answer import upstream_error

DRY_RUN: Mapping[str, str] = {"x-gateway-dry-run": "true"}
_MOST_SAID_CHARS = 1000


def of_person(headers: Mapping[str, str], paying: PayingKey) -> dict[str, str]:
    """The headers with the person whom the edit is for, whatever they said of it."""
    return {**headers, **({"x-gateway-user": paying.person} if paying.person else {})}


async def make_edit(
    request: PageRequest,
    paying: PayingKey,
    headers: Mapping[str, str],
    chunks: Callable[[], AsyncIterator[bytes]],
    record: RequestRecord,
) -> Reply | Quotation:
    """The reply to an edit, or with DRY_RUN its quotation. Raises Refusal, ClientDisconnected."""
    if request.parts.operation.shutdown.in_progress:
        raise replace(SHUTTING_DOWN)
    made: list[Reply | Quotation] = []

    async def keep(it: Reply | Quotation) -> None:
        made.append(it)

    async def pass_over(_: Reply | bytes) -> None:
        """A page has no stream."""

    incoming = Incoming(
        route="edits",
        headers=of_person(headers, paying),
        address=request.exchange.address,
        chunks=chunks,
        gone=request.exchange.wait_for_disconnect,
        begin=pass_over,
        send=pass_over,
        answer=keep,
        tell=keep,
    )
    try:
        await paying.parts.edits.serve(paying.caller, incoming, record)
    except Refusal as refusal:
        raise _in_its_words(refusal) from refusal
    return made[0]


def _in_its_words(refusal: Refusal) -> Refusal:
    """A refusal that the upstream has worded says what the upstream says."""
    error = upstream_error(refusal.body) if refusal.body else None
    return replace(refusal, message=error.message[:_MOST_SAID_CHARS]) if error else refusal


def new_record(request: PageRequest, request_id: str = "") -> RequestRecord:
    return RequestRecord(request_id or request.exchange.request_id, "edits", request.context.spans)
