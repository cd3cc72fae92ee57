"""The life of an edit or a generation, from arrival to the last byte."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from gateway.emulator import answers, stream
from gateway.emulator.delivery import Delivery, HangUp, Pieces
from gateway.emulator.emulator import Emulator, Job
from gateway.emulator.pixels import Work, work
from gateway.emulator.refusals import told_to_fail
from gateway.emulator.request_body import Route, read_call
from gateway.emulator.sockets import hang_up

_TRICKLES = 20


class CallEndpoint:
    """The ASGI endpoint of one route.

    A client that leaves changes nothing: the work is finished and billed, as a provider does.
    """

    def __init__(self, emulator: Emulator, route: Route) -> None:
        self._emulator = emulator
        self._route: Route = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._emulator.books.call():
            try:
                answer = await self._serve(Request(scope, receive))
                await answer(scope, receive, send)
            except HangUp as end:
                await hang_up(scope, receive, reset=end.reset)

    async def _serve(self, request: Request) -> Delivery:
        emulator = self._emulator
        knobs = emulator.faults.for_call(request.headers)
        if knobs.reset_before_read:
            raise HangUp
        credential = emulator.credential(request.headers)
        asked = await read_call(request, self._route, emulator.models)
        named = request.headers.get("x-client-request-id", "")
        job = Job(request.state.request_id, credential, asked, knobs, named[:200])
        if knobs.status is not None:
            await self._fail(job, knobs.status)
        done = await asyncio.to_thread(work, asked)
        if asked.stream:
            return Delivery(self._events(job, done, request.receive), "text/event-stream")
        await emulator.waits.pause(knobs.latency_seconds)
        await self._finish(job, request.receive)
        data = self._links(request, done) if asked.as_url else answers.image_data(done.pictures)
        body = answers.body(job, int(time.time()), done.pictures[0].size, data)
        return Delivery(self._pieces(job, body), "application/json", len(body))

    async def _fail(self, job: Job, status: int) -> None:
        await self._emulator.waits.pause(job.knobs.latency_seconds)
        if job.knobs.bill:
            self._emulator.charge(job, status)
        raise told_to_fail(status, job.knobs.retry_after)

    async def _finish(self, job: Job, receive: Receive) -> None:
        """The work is done: charge for it; then fail, if the knobs say so, before answering."""
        if job.knobs.bill is not False:
            self._emulator.charge(job)
        if job.knobs.hang and not await self._emulator.waits.hang(receive):
            raise HangUp
        if job.knobs.reset_after_read:
            raise HangUp

    def _links(self, request: Request, done: Work) -> list[dict[str, object]]:
        names = (self._emulator.files.keep(picture) for picture in done.pictures)
        return answers.image_links([str(request.url_for("file", name=name)) for name in names])

    async def _pieces(self, job: Job, body: bytes) -> Pieces:
        """The body as it goes out: at once, in a trickle, or only half of it."""
        knobs = job.knobs
        broken = knobs.truncate or knobs.reset_mid_answer
        body = body[: len(body) // 2] if broken else body
        count = _TRICKLES if knobs.slow_body else 1
        for piece in _cut(body, count):
            await self._emulator.waits.pause(knobs.slow_body / count)
            yield piece
        if broken:
            raise HangUp(reset=knobs.reset_mid_answer)

    async def _events(self, job: Job, done: Work, receive: Receive) -> Pieces:
        """A stream's events, the latency spread over them."""
        waits, knobs, created = self._emulator.waits, job.knobs, int(time.time())
        pause_seconds = knobs.latency_seconds / (len(done.partials) + 1)
        for index, partial in enumerate(done.partials):
            await waits.pause(pause_seconds)
            yield stream.partial_event(job.asked, partial, created, index)
        await waits.pause(pause_seconds)
        if knobs.stream_error:
            if knobs.bill:
                self._emulator.charge(job)
            yield stream.error_event(told_to_fail(500))
            return
        await self._finish(job, receive)
        if not knobs.truncate_stream:
            last = stream.completed_event(job, done.pictures[0], created)
            async for piece in self._pieces(job, last):
                yield piece


def _cut(body: bytes, count: int) -> Iterator[bytes]:
    step = math.ceil(len(body) / count)
    return (body[start : start + step] for start in range(0, len(body), step))
