"""The life of an edit or a generation, from arrival to the last byte."""

from __future__ import annotations

import asyncio
import math
import time

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from gateway.emulator import answers
from gateway.emulator.emulator import Emulator
from gateway.emulator.job import Job
from gateway.emulator.pixels import Work, work
from gateway.emulator.refusals import told_to_fail
from gateway.emulator.request_body import Route
from gateway.emulator.sockets import Delivery, HangUp, Pieces, hang_up

_TRICKLES = 20


class CallEndpoint:
    """The ASGI endpoint of one route.

    A call is completed and billed even if its client disconnects, as at a provider.
    """

    def __init__(self, emulator: Emulator, route: Route | None) -> None:
        self._emulator = emulator
        self._route = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._emulator.books.call():
            try:
                answer = await self._serve(Request(scope, receive))
                await answer(scope, receive, send)
            except HangUp as end:
                await hang_up(scope, receive, reset=end.reset)

    async def _serve(self, request: Request) -> Delivery:
        emulator, wire = self._emulator, self._emulator.wire
        knobs = emulator.faults.for_call(request.headers)
        if knobs.reset_before_read:
            raise HangUp
        credential = emulator.credential(request.headers)
        asked = await wire.read(request, self._route, emulator.model)
        wire.check(asked)
        client_id = request.headers.get("x-client-request-id", "")[:200]
        bill = wire.bill(asked)
        job = Job(request.state.request_id, credential, asked, knobs, client_id, bill)
        if knobs.status is not None:
            await emulator.waits.pause(knobs.latency_seconds)
            if knobs.bill:
                emulator.charge(job, knobs.status)
            raise told_to_fail(knobs.status, knobs.retry_after)
        done = await asyncio.to_thread(work, asked)
        if asked.stream:
            return Delivery(self._events(job, done, request), "text/event-stream")
        await emulator.waits.pause(knobs.latency_seconds)
        await self._finish(job, request.receive)
        body = answers.GARBAGE
        if not knobs.garbage:
            urls = self._urls(job, done, request)
            body = wire.answer(job, int(time.time()), done.pictures, urls)
        return Delivery(self._pieces(job, body), "application/json", len(body))

    def _urls(self, job: Job, done: Work, request: Request) -> list[str] | None:
        """The addresses of the pictures, which are served here; None where bytes are answered."""
        if not (job.asked.as_url or job.knobs.as_url):
            return None
        keep, status = self._emulator.keep_file, job.knobs.file_status
        return [str(request.url_for("file", name=keep(each, status))) for each in done.pictures]

    async def _finish(self, job: Job, receive: Receive) -> None:
        """Charge for the work, and then fail before the answer if the knobs say so."""
        if job.knobs.bill is not False:
            self._emulator.charge(job)
        if job.knobs.hang and not await self._emulator.waits.hang(receive):
            raise HangUp
        if job.knobs.reset_after_read:
            raise HangUp

    async def _pieces(self, job: Job, body: bytes) -> Pieces:
        """The body as it is sent: at once, in a trickle, or only half of it."""
        knobs = job.knobs
        broken = knobs.truncate or knobs.reset_mid_answer
        body = body[: len(body) // 2] if broken else body
        count = _TRICKLES if knobs.slow_body else 1
        step = math.ceil(len(body) / count)
        for start in range(0, len(body), step):
            await self._emulator.waits.pause(knobs.slow_body / count)
            yield body[start : start + step]
        if broken:
            raise HangUp(reset=knobs.reset_mid_answer)

    async def _events(self, job: Job, done: Work, request: Request) -> Pieces:
        """A stream's events; the latency is spread over them."""
        waits, knobs, created = self._emulator.waits, job.knobs, int(time.time())
        pause_seconds = knobs.latency_seconds / (len(done.partials) + 1)
        for index, partial in enumerate(done.partials):
            await waits.pause(pause_seconds)
            yield answers.partial_event(job.asked, partial, created, index)
        await waits.pause(pause_seconds)
        if knobs.stream_error:
            if knobs.bill:
                self._emulator.charge(job)
            yield answers.error_event(self._emulator.wire.refusal(told_to_fail(500)))
            return
        await self._finish(job, request.receive)
        if not knobs.truncate_stream:
            usage = self._emulator.wire.usage(job)
            urls = self._urls(job, done, request)
            last = answers.completed_event(job, done.pictures[0], created, usage, urls)
            async for piece in self._pieces(job, last):
                yield piece
