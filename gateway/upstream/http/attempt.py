"""One attempt at a call: what is sent, what comes back, and how it can go wrong."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from gateway.wire.events import Event

SENDING = "http11.send_request_headers.started"
"""What httpcore's trace calls the moment from which bytes of a request may have left."""
Why = Literal["timeout", "failed", "too_large"]


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer of the upstream, whatever its status."""

    status: int
    content_type: str
    body: bytes
    request_id: str
    retry_after_seconds: float | None
    """How long it asks to be left alone; None where it does not."""
    credential: str
    upstream_ms: float = 0.0
    last: Event | None = None
    """What a stream ended with; its data is the body, too."""
    went_wrong: bool = False
    """The stream ended with an error and not with a completed event."""


class Listener(Protocol):
    """Whoever hears a stream while it comes. Neither method may wait."""

    def began(self) -> None:
        """The upstream has taken the request and begins to stream."""

    def take(self, event: Event) -> None:
        """An event on the way to the last one, as soon as it has come."""


class Unsent(Exception):
    """The request provably never left: no connection was made."""


class Broken(Exception):
    """The request may have been carried out and charged, but no complete answer came."""

    def __init__(
        self,
        why: Why,
        detail: str,
        *,
        request_id: str = "",
        credential: str = "",
    ) -> None:
        super().__init__(detail)
        self.why = why
        self.request_id = request_id
        self.credential = credential


@dataclass(frozen=True, slots=True)
class Payload:
    """A body to send: its type, its exact length, and its bytes as they are wanted.

    What a chunk lies in may not change until the call has ended.
    """

    content_type: str
    length: int
    chunks: AsyncGenerator[bytes | memoryview, None]


class Attempt:
    """What is known of one attempt while it runs; listens to its connection as httpx's trace."""

    def __init__(self, credential: str) -> None:
        self.credential = credential
        self.sent = False
        """The head of the request has begun to leave."""
        self.request_id = ""
        """What the upstream calls it, once its answer has begun."""

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        # A proxy is asked for a tunnel first: nothing of the call has left by that.
        if event == SENDING and info["request"].method not in ("CONNECT", b"CONNECT"):
            self.sent = True

    def broken(self, why: Why, detail: str) -> Broken:
        return Broken(why, detail, request_id=self.request_id, credential=self.credential)
