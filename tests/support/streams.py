"""A client that reads a stream byte by byte and writes down what came when."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx

from gateway.wire.events import HEARTBEAT, EventParser, Kind, kind_of
from tests.support.serving import KEY, PHOTOGRAPH, Served

EDIT = {"model": "deepshi-image-1", "prompt": "make it grey"}


@dataclass
class Streamed:
    """An answer that came in pieces, or else a plain one."""

    status: int = 0
    headers: httpx.Headers = field(default_factory=httpx.Headers)
    raw: bytes = b""
    kinds: list[Kind | None] = field(default_factory=list)
    documents: list[dict[str, Any]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    """When each event came, from the request on."""
    broken: bool = False
    """The connection ended before the answer did."""
    begun: threading.Event = field(default_factory=threading.Event)

    @property
    def completed(self) -> dict[str, Any]:
        """The completed event, the last one."""
        assert self.kinds[-1:] == ["completed"], self.raw[-500:]
        assert not self.broken
        return self.documents[-1]

    @property
    def error(self) -> dict[str, Any]:
        """The error event, the last one, upon which the connection broke; or a plain refusal."""
        if self.status != 200:
            return dict(json.loads(self.raw)["error"])
        assert self.kinds[-1:] == ["error"], self.raw[-500:]
        assert self.broken
        return dict(self.documents[-1]["error"])

    @property
    def cost(self) -> Mapping[str, Any]:
        return dict(self.completed["usage"]["cost"])

    @property
    def heartbeats(self) -> int:
        return self.raw.count(HEARTBEAT)

    @property
    def outcome(self) -> str | None:
        """`X-Gateway-Cache`, if it was said."""
        return str(self.headers["x-gateway-cache"]) if "x-gateway-cache" in self.headers else None


def stream(
    served: Served,
    partial_images: int = 0,
    *,
    key: str = KEY,
    headers: Mapping[str, str] | None = None,
    leave_after: int | None = None,
    heard: Streamed | None = None,
    **fields: str,
) -> Streamed:
    """One streamed edit; with `leave_after` the client leaves after so many events."""
    told, parser, started = heard or Streamed(), EventParser(10**8), time.monotonic()
    data = {**EDIT, "stream": "true", "partial_images": str(partial_images), **fields}
    files = [("image[]", ("a.jpg", PHOTOGRAPH))]
    with (
        served.client(key) as client,
        client.stream(
            "POST", "/v1/images/edits", data=data, files=files, headers=headers
        ) as answer,
    ):
        told.status, told.headers = answer.status_code, answer.headers
        told.begun.set()
        try:
            for piece in answer.iter_bytes():
                told.raw += piece
                for event in parser.feed(piece):
                    told.kinds.append(kind_of(event))
                    told.documents.append(json.loads(event.data))
                    told.seconds.append(time.monotonic() - started)
                if leave_after is not None and len(told.kinds) >= leave_after:
                    break
        except httpx.RemoteProtocolError:
            told.broken = True
    return told


class Streaming:
    """A stream that is read on a thread, so that a test can look at it meanwhile."""

    def __init__(
        self, pool: ThreadPoolExecutor, served: Served, partial_images: int = 0, **more: Any
    ) -> None:
        self.heard = Streamed()
        self._end = pool.submit(stream, served, partial_images, heard=self.heard, **more)

    def result(self) -> Streamed:
        return self._end.result(30)

    def came(self, events: int) -> bool:
        """Have so many events come?"""
        return len(self.heard.seconds) >= events
