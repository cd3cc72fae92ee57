"""Asynchronous requests: accepted with 202, carried out without their clients, and asked for later.

The request runs in the process that accepted it, through the same pipeline; its answer can be had
from any process, for the key that asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from gateway.api.responses import JSON, answer_json, refusal_body, refusal_headers
from gateway.cache.kept_answers import KeptAnswers
from gateway.cache.picture_links import PictureLinks
from gateway.cache.tables.kept_answers import AcceptedRequest, AnsweredRequest
from gateway.database.database import StateUnavailable
from gateway.edits.edit_request import Incoming, Reply
from gateway.edits.pipeline import Pipeline
from gateway.edits.presentation import linked
from gateway.model.errors import Refusal
from gateway.queries.models.request_status import AcceptedView
from gateway.runtime.detached_requests import DetachedRequests
from gateway.server.exchange import Exchange
from gateway.telemetry.log import EventLog
from gateway.telemetry.request_record import RequestRecord
from gateway.wire.preference import RESPOND_ASYNC

POLL_SECONDS = 2
_OF_NOW = ("ratelimit", "x-ratelimit", "retry-after", "x-should-retry", "server-timing")
"""Headers of the moment of an answer, by how they begin; they are not kept."""
_UNKNOWN = Refusal(
    "not_found",
    "This key has made no asynchronous request of this id, or it is no longer known. Give the id "
    "from the Location of a 202.",
    param="id",
)
_GONE = Refusal(
    "answer_gone",
    "The answer was kept for 24 hours, or could not be stored. If the edit is still cached, the "
    "same request gets it for nothing.",
)
_LOST = Refusal(
    "request_lost",
    "The process that ran this request ended before it was done. It may have been charged, and is "
    "booked in full as an estimate; ask again only if you would pay for it twice.",
)


@dataclass(eq=False)
class Acceptance:
    """One request that may be answered later: until it is accepted, its client waits."""

    exchange: Exchange
    record: RequestRecord
    answers: KeptAnswers
    log: EventLog
    accepted: asyncio.Event = field(default_factory=asyncio.Event)
    may_accept: bool = False
    """Else the preference is ignored, as RFC 7240 permits, and the client waits."""

    async def accept(self, incoming: Incoming, headers: Mapping[str, str]) -> Incoming:
        """Answer 202, if there is room for one more answer. Raises Refusal.

        The request that goes on then has no client.
        """
        record, caller = self.record, self.record.caller
        if caller is None:
            raise RuntimeError("a request is accepted before its key is known")
        if not (self.may_accept and await self.answers.has_room()):
            return incoming
        try:
            await self.answers.accept(record.request_id, caller)
        except StateUnavailable:
            raise Refusal(
                "state_unavailable",
                "The database can't be reached; nothing was bought. Try again.",
                retry_after_seconds=2,
            ) from None
        more = {
            **headers,
            "location": f"/v1/requests/{record.request_id}",
            "retry-after": str(POLL_SECONDS),
            "preference-applied": RESPOND_ASYNC,
            "cache-control": "no-store",
        }
        await answer_json(self.exchange, view_of(record.request_id).document(), 202, more)
        self.accepted.set()
        return replace(incoming, gone=_never, accept=None, waits=False)

    async def keep(self, reply: Reply, headers: Mapping[str, str]) -> None:
        """Keep an answer with a picture."""
        await self._keep(reply.status, headers, reply.body, linked=reply.linked)

    async def keep_refusal(self, refusal: Refusal, headers: Mapping[str, str]) -> None:
        more = refusal_headers(refusal)
        await self._keep(refusal.status, {**headers, **more}, refusal_body(refusal))

    async def _keep(
        self, status: int, headers: Mapping[str, str], body: bytes, *, linked: bool = False
    ) -> None:
        record, caller = self.record, self.record.caller
        if caller is None:
            return
        lasting = {name: text for name, text in headers.items() if not name.startswith(_OF_NOW)}
        try:
            stored = await self.answers.keep(
                record.request_id, caller, status, lasting, body, linked=linked
            )
        except StateUnavailable as error:
            self.log.error("an answer was not kept", error, request_id=record.request_id)
            return
        if not stored:
            self.log.warning("an answer was not stored", request_id=record.request_id)


async def _never() -> None:
    """The client of a request that goes on without one can't leave."""
    await asyncio.Event().wait()


async def serve_detached(
    detached: DetachedRequests, acceptance: Acceptance, work: Callable[[], Awaitable[None]]
) -> None:
    """Do the work until it is accepted, and then beside the request, or else to its end."""
    task = detached.start(work())
    accepted = asyncio.ensure_future(acceptance.accepted.wait())
    try:
        await asyncio.wait({task, accepted}, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        if not acceptance.accepted.is_set():
            task.cancel()
            await asyncio.wait({task})
    finally:
        accepted.cancel()


@dataclass(frozen=True, slots=True)
class AnswerEndpoints:
    """`/v1/requests/{id}/result`."""

    pipeline: Pipeline
    answers: KeptAnswers
    links: PictureLinks

    async def show(self, exchange: Exchange) -> None:
        caller = await self.pipeline.caller_asking(exchange.headers, exchange.address)
        request_id = exchange.path_parameters["id"]
        found = await self.answers.find(request_id, caller.key_id)
        if found is None:
            raise _UNKNOWN
        if self.answers.has_expired(found):
            raise _GONE
        if self.answers.is_lost(found):
            raise _LOST
        if found.answer is None:
            more = {"retry-after": str(POLL_SECONDS), "cache-control": "no-store"}
            await answer_json(exchange, view_of(request_id).document(), 202, more)
            return
        await self._send(exchange, found, found.answer)

    async def _send(
        self, exchange: Exchange, found: AcceptedRequest, answer: AnsweredRequest
    ) -> None:
        headers = {"content-type": JSON, **answer.headers}
        if answer.refusal:
            # It stays the answer, however often it is asked for.
            headers["x-should-retry"] = "false"
            await exchange.answer(answer.status, headers, answer.refusal.encode())
            return
        stored = await self.answers.store.get(found.request_id) if answer.stored else None
        if stored:
            body = stored.body
            if answer.linked:
                body = await asyncio.to_thread(linked, body, stored.entry, self.links)
            await exchange.answer(answer.status, headers, body)
            return
        if answer.stored and self.answers.store.failure:
            raise Refusal(
                "results_unavailable",
                "The stored answers can't be read now. Try again.",
                retry_after_seconds=POLL_SECONDS,
            )
        raise _GONE


def view_of(request_id: str) -> AcceptedView:
    return AcceptedView(id=request_id, result=f"/v1/requests/{request_id}/result")
