"""One connection of a client: what it may send before it is listened to, and how long that and
the taking of an answer may last.

uvicorn reads heads of any length for ever, refuses in plain text what is no HTTP, and keeps an
answer that nobody takes until the connection breaks. `ConnectionLimits` bounds each of these.
"""

from __future__ import annotations

import asyncio
import json
import termios
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import httptools
import uvicorn
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from gateway.database.ids import new_id
from gateway.model.errors import Refusal, Retry
from gateway.server.protocol.direct_read import READ_BYTES, Receiver, queued_bytes
from gateway.server.protocol.write_coalescing import WriteCoalescing

SPOKEN = frozenset({"1.0", "1.1"})
LENGTH = b"content-length"
LONGEST_LENGTH = 20
SINGLE = frozenset({b"host", b"authorization", b"content-type"})
"""What says something else to who reads the first than to who reads the last."""
LINGER_SECONDS = 1.0
"""How long what a refused client still sends is dropped, so that it sees the refusal."""
CHUNK_FRAME_BYTES = 32
"""What may stand around the bytes of a chunk; `Door.max_header_bytes` of more in a body."""
IPV4_IN_IPV6 = "::ffff:"
TURNED_AWAY_AT_ONCE = 100
"""So many connections beyond the cap are told why; more are closed without a word."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Bounds of what a client may do to a connection before and after it is served."""

    max_header_lines: int = 100
    max_header_bytes: int = 64 * 2**10
    """The request line and all headers."""
    header_seconds: float = 15.0
    """From connecting, or from the first byte of a further request, to the end of its head."""
    max_connections: int = 2000
    """Of one process."""
    answer_seconds: float = 60.0
    """How long a client may take nothing of its answer."""


class Configured(uvicorn.Config):
    """uvicorn's configuration, and ours; a process of its own gets it pickled."""

    door: ConnectionLimits = ConnectionLimits()
    closing: bool = False
    """Every connection is closed after its next answer."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.read_buffer = bytearray(READ_BYTES)
        self.turned_away = set[ClientConnection]()
        """Connections beyond the cap whose refusal is on its way."""


class ClientConnection(HttpToolsProtocol):
    """uvicorn's protocol within the bounds of a Door. Made by uvicorn, in its event loop."""

    config: Configured

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._door = self.config.door
        self._head_timer: asyncio.TimerHandle | None = None
        self._taking_timer: asyncio.TimerHandle | None = None
        self.in_head = True
        self.coming_bytes = 0
        self._unanswered: deque[RequestResponseCycle] = deque()
        """More than one where a client sends further requests before it is answered."""
        self._deaf = False
        """Whatever else comes is dropped: the connection is about to end."""
        self._fault: Refusal | None = None
        self._lines = 0
        self._head_bytes = 0
        self._bare_bytes = 0
        """What came since the last piece of a body or the end of a head or request."""
        self._frame_bytes = 0
        """What came with the chunks of a body beside its bytes, and beyond what they may have."""

    # --- beginning and end --------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self.client and self.client[0].startswith(IPV4_IN_IPV6):
            self.client = self.client[0].removeprefix(IPV4_IN_IPV6), self.client[1]
        transport.set_protocol(Receiver(self, transport, self.config.read_buffer))
        if len(self.connections) > self._door.max_connections:
            self._turn_away()
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self.config.turned_away.discard(self)
        self._cancel_head_timer()
        self._cancel_taking_timer()
        for cycle in self._unanswered:  # uvicorn tells the last one alone
            cycle.disconnected = True
            cycle.message_event.set()
        super().connection_lost(exc)

    def _turn_away(self) -> None:
        self.connections.discard(self)
        self._deaf = True
        away = self.config.turned_away
        if len(away) >= TURNED_AWAY_AT_ONCE:
            self.transport.abort()  # a flood; telling each would take the files of those served
            return
        away.add(self)
        self._write_refusal(
            Refusal(
                "overloaded",
                "The gateway has as many connections open as it can; nothing was charged. Try "
                "again shortly.",
                retry_after_seconds=1,
            )
        )
        self._linger()

    # --- heads --------------------------------------------------------------------------

    def data_received(self, data: bytes | memoryview) -> None:
        if self._deaf:
            return
        self._unset_keepalive_if_required()
        if self.in_head and not self._busy:
            self._await_head()
        self._bare_bytes += len(data)
        self._frame_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            return  # to what is not spoken here: it is answered as if it had not been asked for
        except httptools.HttpParserError:
            self._refuse(self._fault or _malformed())
            return
        if max(self._bare_bytes, self._frame_bytes) > self._door.max_header_bytes:
            self._refuse(self._too_large())

    def body_received(self, body: bytes, new_bytes: int) -> None:
        self.coming_bytes -= new_bytes
        if self._deaf:
            return
        self._unset_keepalive_if_required()
        self._pass_on(body, whole=not self.coming_bytes)
        if not self.coming_bytes:
            self.parser = _new_parser(self)  # the old one waits for what it was not shown
            # What follows a last request is nobody's. It is read all the same: to close with
            # something unread would take the answer back.
            self._deaf = not self.cycle.keep_alive
            self.on_message_complete()

    @property
    def untaken_bytes(self) -> int:
        return 0 if self.cycle.response_complete else len(self.cycle.body)

    def take_back(self) -> bytes:
        untaken = bytes(self.cycle.body)
        self.cycle.body = b""  # type: ignore[assignment]
        return untaken

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._lines = 0
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._lines += 1
        self._count(len(name) + len(value) + len(": \r\n"))
        if self.in_head:  # what follows a body in chunks is no part of the head
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._check_head()
        super().on_headers_complete()
        # The cycle writes, asks whether it still can, and closes: that is all it does with it.
        self.cycle.transport = WriteCoalescing(self.transport, self.loop)  # type: ignore[assignment]
        self._unanswered.append(self.cycle)
        self._cancel_head_timer()
        self.in_head = False
        self.coming_bytes = self._body_bytes()
        self._bare_bytes = self._frame_bytes = 0
        if self.config.closing:
            self.last_answer()

    def _body_bytes(self) -> int:
        """How long the body is, as its head says; 0 where it comes in chunks."""
        for name, value in self.headers:
            if name == LENGTH:
                return int(value)
        return 0

    def last_answer(self) -> None:
        """Whatever is answered last, or next, says that the connection is closed after it."""
        if self._busy and not self.cycle.response_started:
            self.cycle.keep_alive = False

    def _check_head(self) -> None:
        """Raise where another reader of this head may see another end of the request."""
        version = self.parser.get_http_version()
        encodings = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
        if self._upgrades_with_a_body():
            # The parser takes such a body for another protocol's and passes over it; what came
            # of it later would be read as requests of their own.
            why = (
                "No other protocol is spoken here: send the body without an Upgrade header "
                "(with curl: --http1.1)."
            )
        elif version not in SPOKEN:
            why = "HTTP/1.1 and HTTP/1.0 are spoken here."
        elif encodings and (encodings != [b"chunked"] or version == "1.0"):
            why = "A body is sent with Transfer-Encoding: chunked by HTTP/1.1, or with its length."
        elif any(len(value) > LONGEST_LENGTH for name, value in self.headers if name == LENGTH):
            why = "The request's Content-Length is no length; send the number of its body's bytes."
        elif twice := SINGLE & _repeated(name for name, _ in self.headers):
            why = f"The request has the header {min(twice).decode()} more than once; send it once."
        else:
            return
        self._fault = Refusal("bad_request", why)
        raise self._fault

    def _upgrades_with_a_body(self) -> bool:
        sent = dict(self.headers)
        if b"upgrade" not in sent:
            return False
        return b"transfer-encoding" in sent or sent.get(b"content-length", b"0") != b"0"

    def on_body(self, body: bytes) -> None:
        self._bare_bytes = 0
        self._frame_bytes -= len(body)
        if self.coming_bytes:
            self.coming_bytes -= len(body)
        self._pass_on(body)

    def _pass_on(self, body: bytes, *, whole: bool = False) -> None:
        if self.cycle.body or self.cycle.response_complete:
            super().on_body(body)
            return
        # What nothing waits before is passed on as it came; uvicorn would copy it twice.
        self.cycle.body = body  # type: ignore[assignment]
        if len(body) > HIGH_WATER_LIMIT and not whole:
            self.flow.pause_reading()
        self.cycle.message_event.set()

    def on_chunk_header(self) -> None:
        self._frame_bytes -= CHUNK_FRAME_BYTES

    def on_message_complete(self) -> None:
        self.in_head = True
        self.coming_bytes = self._bare_bytes = self._frame_bytes = 0
        super().on_message_complete()

    def _count(self, head_bytes: int) -> None:
        """Raises out of the parser where the head is too large."""
        self._head_bytes += head_bytes
        door = self._door
        if self._lines > door.max_header_lines or self._head_bytes > door.max_header_bytes:
            self._fault = self._too_large()
            raise self._fault

    def _too_large(self) -> Refusal:
        door = self._door
        return Refusal(
            "headers_too_large",
            f"The request's head is larger than {door.max_header_lines} headers or "
            f"{door.max_header_bytes} bytes; send fewer or shorter headers.",
        )

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self._door.header_seconds, self._head_overdue)

    def _head_overdue(self) -> None:
        self._deaf = True
        self.transport.close()

    def _cancel_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    # --- refusing -----------------------------------------------------------------------

    @property
    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, refusal: Refusal) -> None:
        """Answer what can't be read, unless answers to what came before it are under way."""
        self._deaf = True
        self._cancel_head_timer()
        if self._busy and not self.cycle.more_body:
            self.cycle.keep_alive = False  # the requests before it were whole: they are answered
            return
        if self.pipeline:
            self.transport.abort()  # its body broke off while another's answer is under way
            return
        begun = self._busy and self.cycle.response_started
        if self._busy:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if not begun:
            self._write_refusal(refusal)
        self._linger()

    def _write_refusal(self, refusal: Refusal) -> None:
        body = json.dumps(refusal.envelope()).encode()
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "connection": "close",
            "x-request-id": new_id("req_"),
            "x-gateway-error-source": refusal.source,
        }
        if refusal.kind.retry is Retry.YES:
            headers["x-should-retry"] = "true"
            headers["retry-after"] = str(round(refusal.retry_after_seconds or 1))
        lines = [name.encode() + b": " + value.encode() for name, value in headers.items()]
        lines += [name + b": " + value for name, value in self.server_state.default_headers]
        self.transport.write(STATUS_LINE[refusal.status] + b"\r\n".join(lines) + b"\r\n\r\n" + body)

    def _linger(self) -> None:
        """End our side, and theirs soon after: closing at once would lose what was written."""
        if self.transport.is_closing():
            return
        self._flush()
        self.flow.resume_reading()
        self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def shutdown(self) -> None:
        self._flush()
        super().shutdown()

    def _flush(self) -> None:
        if self.cycle is not None and isinstance(self.cycle.transport, WriteCoalescing):
            self.cycle.transport.flush()

    # --- answers that nobody takes --------------------------------------------------------

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_taking()

    def resume_writing(self) -> None:
        self._cancel_taking_timer()
        super().resume_writing()

    def on_response_complete(self) -> None:
        self._unanswered.popleft()
        super().on_response_complete()
        if self.transport.get_write_buffer_size():
            self._watch_taking()

    def _watch_taking(self) -> None:
        """Close within two terms of the last byte taken, and let go of what was not taken.

        What waits can't grow between two looks, for nobody writes while writing is paused.
        """
        self._cancel_taking_timer()
        self._look_again(self._waiting_bytes())

    def _look_again(self, waiting_bytes: int) -> None:
        self._taking_timer = self.loop.call_later(
            self._door.answer_seconds, self._look_whether_taken, waiting_bytes
        )

    def _look_whether_taken(self, waited_bytes: int) -> None:
        self._taking_timer = None
        if not self.transport.get_write_buffer_size():
            return
        waiting_bytes = self._waiting_bytes()
        if waiting_bytes >= waited_bytes:
            self.transport.abort()
        else:
            self._look_again(waiting_bytes)

    def _waiting_bytes(self) -> int:
        """What the client has not acknowledged: here, and in the system's own buffer.

        That buffer takes megabytes at a time, so that ours alone may stand still for minutes
        while a slow client takes its answer steadily.
        """
        fileno = self.transport.get_extra_info("socket").fileno()
        unacknowledged = queued_bytes(fileno, termios.TIOCOUTQ)
        return self.transport.get_write_buffer_size() + unacknowledged

    def _cancel_taking_timer(self) -> None:
        if self._taking_timer is not None:
            self._taking_timer.cancel()
            self._taking_timer = None


def _repeated(names: Iterable[bytes]) -> set[bytes]:
    seen, again = set[bytes](), set[bytes]()
    for name in names:
        (again if name in seen else seen).add(name)
    return again


def _new_parser(connection: ClientConnection) -> httptools.HttpRequestParser:
    """As uvicorn has it for a new connection."""
    parser = httptools.HttpRequestParser(connection)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser


def _malformed() -> Refusal:
    return Refusal("bad_request", "This is no HTTP request that can be read; check what sends it.")
