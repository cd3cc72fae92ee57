"""One call to the upstream: the request's body, the answer, and how a call can fail.

Results have three forms, from the wire to the ledger:

- `Answer`: the upstream's HTTP answer, complete and unread, whatever its status;
- `ParsedAnswer` (`gateway.wire.answer`): the JSON of a 200, read for its cost and pictures;
- `Answered | CallFailed` (`gateway.edits.flight_result`): the outcome of a call with its retries,
  which the money is settled by.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Literal, Protocol

from gateway.wire.events import Event

Failure = Literal["timeout", "failed", "too_large", "encoded"]


@dataclass(frozen=True, slots=True)
class Payload:
    """A request's body: its type, its exact length, and its bytes on demand.

    The memory of a chunk may not change until the call has ended.
    """

    content_type: str
    length: int
    chunks: AsyncGenerator[bytes | memoryview, None]


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer of the upstream, whatever its status."""

    status: int
    content_type: str
    body: bytes
    request_id: str
    """The upstream's own id of the call."""
    retry_after_seconds: float | None
    """The value of `Retry-After`; None without one."""
    credential: str
    """A hint of the upstream key, never the key."""
    location: str = ""
    """The target of a redirect, without its query."""
    account_code: str = ""
    """The code of a 4xx that says that the account can't pay."""
    last: Event | None = None
    """The last event of a stream; `body` is its data."""
    went_wrong: bool = False
    """The stream ended with an error event instead of a completed one."""


class Listener(Protocol):
    """Receives a stream's events while they arrive. Its methods may not wait."""

    def open(self) -> None:
        """The upstream has accepted the request and the stream begins."""

    def publish(self, event: Event) -> None:
        """An event before the last one."""


class Unsent(Exception):
    """No byte of the request has left, so nothing can have been charged."""


class Broken(Exception):
    """The request may have been carried out and charged, but no complete answer arrived."""

    def __init__(
        self, why: Failure, detail: str, *, request_id: str = "", credential: str = ""
    ) -> None:
        super().__init__(detail)
        self.why = why
        self.request_id = request_id
        self.credential = credential


@dataclass(slots=True)
class Attempt:
    """The state of one call while it runs."""

    credential: str
    sent: bool = False
    """A connection exists: from here on bytes of the request may have left."""
    request_id: str = ""
    """The upstream's own id of the call, known once its answer has begun."""

    def broken(self, why: Failure, detail: str) -> Broken:
        return Broken(why, detail, request_id=self.request_id, credential=self.credential)
