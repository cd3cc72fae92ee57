"""A request as the pipeline takes it, and the reply it gives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass

from gateway.model.caller import Caller
from gateway.model.edit import Route
from gateway.wire.cache_directives import Directives
from gateway.wire.response_headers import CacheStatus


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with a picture, before its headers are made."""

    body: bytes
    cache: CacheStatus | None
    """None if the outcome is not known yet."""
    age_seconds: int | None = None
    status: int = 200
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request whose body has not been read, and the ways to answer it.

    `headers` have lower-case names; `chunks` yields the body and may be started once;
    `gone` returns when the client has left, and is only called after the body is read.
    `begin` sends the head of a stream and `send` a piece of it; its reply is the last piece.
    `answer` sends a whole answer, or a stream's last piece, and returns when the client has
    received it.
    """

    route: Route
    headers: Mapping[str, str]
    address: str
    """The client's IP address."""
    chunks: Callable[[], AsyncIterator[bytes]]
    gone: Callable[[], Awaitable[None]]
    begin: Callable[[Reply], Awaitable[None]]
    send: Callable[[bytes], Awaitable[None]]
    answer: Callable[[Reply], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request whose body may be read."""

    caller: Caller
    directives: Directives
    content_type: str
