"""Sending an answer piece by piece, and the way to break it off."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from starlette.types import Receive, Scope, Send

Pieces = AsyncGenerator[bytes, None]


@dataclass
class HangUp(Exception):
    """The connection is to end here, by a TCP reset or by an orderly close."""

    reset: bool = True


class Delivery:
    """A 200 whose body comes in pieces; they may raise HangUp between two of them.

    Unlike Starlette's streaming response it goes on when the client has left, so that a call
    ends, and is billed, as it would have been.
    """

    def __init__(self, pieces: Pieces, media_type: str, body_bytes: int | None = None) -> None:
        self._pieces = pieces
        self._headers = [(b"content-type", media_type.encode())]
        if body_bytes is not None:
            self._headers.append((b"content-length", b"%d" % body_bytes))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        async with aclosing(self._pieces) as pieces:
            async for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
