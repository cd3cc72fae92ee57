"""uvicorn's servers in tests: one that shall stop does so at once.

uvicorn looks ten times a second whether it shall. To look more often costs more than a percent of
a core for each server, all the time; so whoever says so awakens the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress

import uvicorn
import uvicorn.server

TICK_SECONDS = 0.1


class _ShouldExit:
    """`Server.should_exit`, which awakens the server that waits in its main loop."""

    def __get__(self, server: uvicorn.Server, _: type) -> bool:
        return bool(server.__dict__.get("should_exit"))

    def __set__(self, server: uvicorn.Server, value: bool) -> None:
        server.__dict__["should_exit"] = value
        loop: asyncio.AbstractEventLoop | None = server.__dict__.get("loop")
        if value and loop is not None:
            with suppress(RuntimeError):  # it is closed: the server has stopped
                loop.call_soon_threadsafe(server.__dict__["awakened"].set)


async def _main_loop(server: uvicorn.Server) -> None:
    awakened = asyncio.Event()
    server.__dict__.update(loop=asyncio.get_running_loop(), awakened=awakened)
    ticks = 0
    while not await server.on_tick(ticks):
        ticks += 1
        with suppress(TimeoutError):
            await asyncio.wait_for(awakened.wait(), TICK_SECONDS)
            awakened.clear()


class _QuickAsyncio:
    """asyncio for a server that stops: it looks ten times a second what still goes on."""

    def __getattr__(self, name: str) -> object:
        return getattr(asyncio, name)

    def sleep(self, seconds: float) -> Awaitable[None]:
        return asyncio.sleep(seconds / 10)


def stop_promptly() -> None:
    """Make every server of this process one that stops at once."""
    uvicorn.Server.should_exit = _ShouldExit()  # type: ignore[assignment]
    uvicorn.Server.main_loop = _main_loop  # type: ignore[assignment, method-assign]
    uvicorn.server.asyncio = _QuickAsyncio()  # type: ignore[assignment, attr-defined]
