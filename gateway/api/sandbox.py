"""The requests of sandbox keys: a gateway of its own in front of the emulator.

It shares keys and the list of models with the gateway that it is the sandbox of, and nothing else:
no upstream, no state, no ledger, no result, no metric. It starts with its first request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from contextvars import Context
from functools import partial
from pathlib import Path

from starlette.routing import Router
from starlette.types import Receive, Scope, Send

from gateway.accounts.tables.accounts import AccountRecord
from gateway.accounts.tables.sandbox import add_accounts
from gateway.cache.picture_links import BadLink, PictureId
from gateway.edits.presentation import media_type_of
from gateway.model.caller import Caller
from gateway.model.errors import Refusal
from gateway.runtime.container import Container
from gateway.runtime.emulator_process import EmulatorProcess
from gateway.runtime.lifespan import running
from gateway.runtime.sandbox import sandbox_settings
from gateway.server.exchange import Exchange
from gateway.telemetry.temporary_folder import temporary_folder

HEADER = (b"x-gateway-sandbox", b"true")
_PICTURES = "/v1/pictures/"


class Sandbox:
    """The sandbox of a gateway. Its stores are in `folder`, which workers share, or in its own."""

    def __init__(self, parts: Container, folder: str, router: Callable[[Container], Router]):
        self._gateway, self._folder, self._router_of = parts, folder, router
        self._starting = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._known: set[tuple[str, int | None]] = set()
        """The keys, with their expiry, whose accounts are in the sandbox's state."""
        self._up: tuple[Container, Router] | None = None
        self.emulator: EmulatorProcess | None = None

    def is_asked(self, exchange: Exchange) -> bool:
        """Is it a request of a sandbox key, or for a picture that the sandbox has a link to?"""
        return self._key_of(exchange) is not None or self._has_linked(exchange)

    async def serve(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, always with `X-Gateway-Sandbox`. Raises Refusal."""
        exchange.added_headers.append(HEADER)
        parts, router = await self._running()
        if key := self._key_of(exchange):
            await self._add(parts, key)
        await router(scope, receive, send)

    async def parts_for(self, caller: Caller) -> Container:
        """The parts that answer this sandbox key, which they know from now on. Raises Refusal."""
        parts, _ = await self._running()
        await self._add(parts, self._gateway.authenticator.key_account(caller.key_id))
        return parts

    async def _running(self) -> tuple[Container, Router]:
        async with self._starting:
            if self._up is None:
                # In no request's context: what the sandbox logs later is not this request's.
                self._up = await asyncio.create_task(self._start(), context=Context())
            return self._up

    async def close(self) -> None:
        async with self._starting:
            self._up = None
            await self._stack.aclose()

    def _key_of(self, exchange: Exchange) -> AccountRecord | None:
        sent = exchange.headers
        return self._gateway.authenticator.sandbox_key(
            sent.get("authorization", ""), sent.get("api-key", "")
        )

    def _has_linked(self, exchange: Exchange) -> bool:
        if self._up is None or not exchange.path.startswith(_PICTURES):
            return False
        try:
            picture = PictureId.parse(exchange.path.removeprefix(_PICTURES))
            self._up[0].cache.links.check(picture, media_type_of(picture.ending), exchange.query)
        except BadLink:
            return False
        return True

    async def _start(self) -> tuple[Container, Router]:
        context = self._gateway.context
        async with AsyncExitStack() as stack:
            folder = Path(self._folder) if self._folder else stack.enter_context(temporary_folder())
            folder.mkdir(mode=0o700, exist_ok=True)
            memory_bytes = context.settings.sandbox.memory_bytes
            emulator = EmulatorProcess(memory_bytes, context.log)
            emulating = asyncio.create_task(emulator.run())
            stack.push_async_callback(_ended, emulating)
            settings = sandbox_settings(context.settings, folder, emulator.origin, emulator.api_key)
            parts = Container(settings, context.log, clock=context.clock, sandbox_of=self._gateway)
            await stack.enter_async_context(running(parts))
            self.emulator = emulator
            self._stack = stack.pop_all()
        return parts, self._router_of(parts)

    async def _add(self, parts: Container, key: AccountRecord) -> None:
        if self.emulator and not await self.emulator.serves():
            raise Refusal(
                "sandbox_unavailable",
                "The sandbox's emulator does not run; the gateway's log says why. Try again.",
                retry_after_seconds=5,
            )
        this = (key.id, key.settings.expires_ms)
        if this not in self._known:
            adding = partial(add_accounts, key=key, now_ms=parts.context.clock())
            await parts.context.database.write(adding)
            self._known.add(this)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
