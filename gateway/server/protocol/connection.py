"""One connection of a client: uvicorn's protocol, within `ConnectionLimits`.

uvicorn by itself reads heads of any length for any time, reads any number of pipelined requests
ahead, answers malformed requests in plain text, and keeps an answer that the client does not accept
until the connection breaks.

Here the parser gets one request at a time, and its head in one piece. Bytes behind a request wait
unread until it is answered, so answers keep their order, and a request does not depend on how
packets are cut.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from typing import Any

import httptools
import uvicorn
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.model.errors import Refusal
from gateway.server.protocol.connection_limits import (
    ConnectionLimits,
    Networks,
    contains,
    share_of,
)
from gateway.server.protocol.direct_read import HEAD_BYTES, READ_BYTES, Receiver
from gateway.server.protocol.early_close import (
    abort_once_sent,
    answer_server_options,
    refusal_response,
    too_many_connections,
)
from gateway.server.protocol.request_head import (
    check_head,
    head_length,
    head_too_large,
    malformed_request,
    without_upgrade,
)
from gateway.server.protocol.slow_client import AnswerTimeout, HeadTimeout, UnsentAnswers
from gateway.server.protocol.write_coalescing import WriteCoalescing

CHUNK_FRAME_BYTES = 32
"""Framing allowed for each chunk; the framing of a body may exceed it by `max_header_bytes`."""
IPV4_IN_IPV6 = "::ffff:"
MOST_REFUSED = 100
"""Connections over the limit that are kept until they are refused; then the oldest is closed."""
MOST_REFUSED_OF_ONE = 10
"""Those of one address; further ones are closed at once."""
REFUSED_HEAD_SECONDS = 1.0
"""How long a connection over the limit may take to send a liveness probe."""
LIVENESS_PATH = b"/healthz"
EMPTY_LINE = b"\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
COMMENT_CHUNK = b"3\r\n:\n\n\r\n"
"""A comment of an event stream, the one answer that is sent in chunks."""
HALF_CLOSED_POLL_SECONDS = 0.05
READ_ON_SECONDS = 1.0
"""How long the rest of a refused request is read: many clients read no answer before they have
sent all."""


class ServerConfig(uvicorn.Config):
    """uvicorn's configuration, and ours; worker processes receive it pickled."""

    connection_limits: ConnectionLimits = ConnectionLimits()
    trusted_networks: Networks = ()
    """Connections of these proxies are not counted by address."""
    closing: bool = False
    """Every connection is closed after its next answer."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.read_buffer = bytearray(READ_BYTES)
        self.shares = Counter[str]()
        """The number of connections by address."""
        self.refused: dict[ClientConnection, str] = {}
        """Connections over the limit, and their addresses, the oldest first."""
        self.unsent = UnsentAnswers()


class ClientConnection(HttpToolsProtocol):
    """uvicorn creates one for each connection, in its event loop."""

    config: ServerConfig

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._limits = self.config.connection_limits
        self.in_head = True
        """The next byte belongs to a head."""
        self.missing_bytes = 0
        """The rest of a body of known length; else 0."""
        self._waiting = b""
        """The beginning of the next request."""
        self._input_paused = False
        self._input_ended = False
        self._ignore_input = False
        """The connection is about to end."""
        self._over_limit: Refusal | None = None
        self._chunks: list[bytes] = []
        self._chunk_tail = b""
        """The last bytes of a chunked body that were parsed."""
        self._frame_bytes = 0
        """The framing of a chunked body, less what its chunks are allowed."""

    # --- beginning and end --------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._answer_timeout = AnswerTimeout(self.loop, self._limits.answer_seconds, transport)
        if self.client and self.client[0].startswith(IPV4_IN_IPV6):
            self.client = self.client[0].removeprefix(IPV4_IN_IPV6), self.client[1]
        transport.set_protocol(Receiver(self, transport, self.config.read_buffer))
        self._share = share_of(self.client[0] if self.client else "")
        self.config.shares[self._share] += 1
        self._over_limit = self._limit_reached()
        seconds = REFUSED_HEAD_SECONDS if self._over_limit else self._limits.header_seconds
        self._head_timeout = HeadTimeout(self.loop, seconds, self._head_timed_out)
        self._head_timeout.start()
        if self._over_limit:
            self._keep_until_refused()

    def connection_lost(self, exc: Exception | None) -> None:
        self.config.refused.pop(self, None)
        self.config.shares[self._share] -= 1
        if not self.config.shares[self._share]:
            del self.config.shares[self._share]
        self.config.unsent.discard(self.transport)
        self._head_timeout.stop()
        self._answer_timeout.stop()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        self._flush()
        super().shutdown()

    def close_after_next_answer(self) -> None:
        """Have the current answer, or else the next one, say `connection: close`."""
        if self._busy and not self.cycle.response_started:
            self.cycle.keep_alive = False

    # --- receiving ------------------------------------------------------------------------

    def data_received(self, data: bytes | memoryview) -> None:
        """Bytes of heads and of chunked bodies."""
        if self._ignore_input:
            return
        self._unset_keepalive_if_required()
        try:
            if not self.in_head:
                data = self._parse_chunks(data)
            self._waiting += data
            self._next_request()
        except Refusal as refusal:
            self._refuse(refusal)
        except httptools.HttpParserError as error:
            why = error.__context__
            self._refuse(why if isinstance(why, Refusal) else malformed_request())

    def body_received(self, body: bytes, new_bytes: int) -> None:
        """Called by `Receiver` instead of `data_received`, with bytes of a body."""
        self.missing_bytes -= new_bytes
        if self._ignore_input:
            return
        self._unset_keepalive_if_required()
        self._pass_on(body, is_last=not self.missing_bytes)
        if not self.missing_bytes:
            self.on_message_complete()

    @property
    def unread_bytes(self) -> int:
        """The received bytes of the body that the application has not read."""
        return 0 if self.cycle.response_complete else len(self.cycle.body)

    def take_back(self) -> bytes:
        """Remove and return those bytes; they are received again with the next ones."""
        unread = bytes(self.cycle.body)
        self.cycle.body = b""  # type: ignore[assignment]
        return unread

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client has ended its side. That of a whole request may still read the answer."""
        if self._ignore_input or not (self._busy and self.in_head):
            return False  # closes the connection
        self._input_ended = True
        self._probe()
        self.loop.call_later(HALF_CLOSED_POLL_SECONDS, self._check_still_there)
        return True

    def _probe(self) -> None:
        """Send bytes without meaning, which the system of a client that has left refuses."""
        if self.cycle.scope["http_version"] != "1.1":
            return
        if not self.cycle.response_started:
            self.transport.write(CONTINUE)
        elif self.cycle.chunked_encoding:
            self._flush()
            self.transport.write(COMMENT_CHUNK)

    def _check_still_there(self) -> None:
        connection = self.transport.get_extra_info("socket")
        if not self._busy or self.transport.is_closing():
            return
        if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.transport.abort()
        else:
            self.loop.call_later(HALF_CLOSED_POLL_SECONDS, self._check_still_there)

    # --- parsing --------------------------------------------------------------------------

    def _next_request(self) -> None:
        """Parse the request whose beginning has been received, unless another is unanswered."""
        if self._busy:
            if not self.cycle.keep_alive:
                self._waiting = b""
            elif len(self._waiting) >= HEAD_BYTES and not self._input_paused:
                self.flow.resume_reading()  # which the application would do later
                self.transport.pause_reading()
                self._input_paused = True
            return
        if not self._waiting:
            return
        length = head_length(self._waiting, self._limits)
        if not length:
            self._head_timeout.start()
            return
        head, behind = self._waiting[:length], self._waiting[length:]
        self._waiting = b""
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(without_upgrade(head))
        if self.missing_bytes:
            body, behind = behind[: self.missing_bytes], behind[self.missing_bytes :]
            if body:
                self.body_received(body, len(body))
        elif not self.in_head:
            behind = self._parse_chunks(behind)
        self._waiting = behind
        if behind:
            self._next_request()

    def _parse_chunks(self, data: bytes | memoryview) -> bytes:
        """Parse bytes of a chunked body; returns those behind it.

        A body ends with an empty line. The parser gets the bytes line by such line, as it does not
        say how many of them belong to the body.
        """
        self._frame_bytes += len(data)
        at = len(self._chunk_tail)
        joined = b"".join((self._chunk_tail, data))
        while at < len(joined) and not self.in_head:
            found = joined.find(EMPTY_LINE, max(at - 3, 0))
            end = found + len(EMPTY_LINE) if found >= 0 else len(joined)
            self.parser.feed_data(joined[at:end])
            at = end
        if self._chunks:
            self._pass_on(b"".join(self._chunks), is_last=self.in_head)
            self._chunks.clear()
        self._chunk_tail = joined[-3:]
        self._frame_bytes = max(0, self._frame_bytes - (len(joined) - at))
        too_many_lines = len(self.headers) > self._limits.max_header_lines  # of the trailer
        if self._frame_bytes > self._limits.max_header_bytes or too_many_lines:
            raise head_too_large(self._limits)
        return joined[at:]

    # Callbacks of the parser. It replaces exceptions by an error of its own.

    def on_headers_complete(self) -> None:
        version = self.parser.get_http_version()
        self.headers[:] = [(name, value.rstrip(b" \t")) for name, value in self.headers]
        missing_bytes = check_head(self.headers, version)
        if self._over_limit and self.url != LIVENESS_PATH:
            raise self._over_limit
        self.missing_bytes = missing_bytes
        if version == "1.0":
            self.expect_100_continue = False
        if self.url == b"*":
            self.url, self.app = b"/", answer_server_options
        super().on_headers_complete()
        self.app = self.config.loaded_app
        # The cycle only calls `write`, `is_closing` and `close`.
        self.cycle.transport = WriteCoalescing(self.transport, self.loop, self._close)  # type: ignore[assignment]
        self._head_timeout.stop()
        self.in_head = False
        self.headers = []  # of the trailer, which is dropped
        self._chunk_tail = b""
        self._frame_bytes = 0
        if self.config.closing or self._over_limit:
            self.close_after_next_answer()

    def on_body(self, body: bytes) -> None:
        self._frame_bytes -= len(body)
        self._chunks.append(body)

    def on_chunk_header(self) -> None:
        self._frame_bytes -= CHUNK_FRAME_BYTES

    def on_message_complete(self) -> None:
        self.in_head = True
        super().on_message_complete()

    def _pass_on(self, body: bytes, *, is_last: bool = False) -> None:
        if self.cycle.body or self.cycle.response_complete:
            super().on_body(body)
            return
        # Into an empty buffer the bytes go as they are; uvicorn would copy them twice.
        self.cycle.body = body  # type: ignore[assignment]
        if len(body) > HIGH_WATER_LIMIT and not is_last:
            self.flow.pause_reading()
        self.cycle.message_event.set()

    # --- refusing before the app sees a request -----------------------------------------------

    @property
    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _limit_reached(self) -> Refusal | None:
        limits, share = self._limits, self._share
        if len(self.connections) > limits.max_connections:
            return too_many_connections("")
        if share and self.config.shares[share] > limits.max_connections_per_address:
            if self.client and contains(self.config.trusted_networks, self.client[0]):
                return None
            return too_many_connections(" for one address")
        return None

    def _keep_until_refused(self) -> None:
        """Leave a connection over the limit only time for a liveness probe."""
        self.connections.discard(self)
        refused = self.config.refused
        if list(refused.values()).count(self._share) >= MOST_REFUSED_OF_ONE:
            self._ignore_input = True
            self.transport.abort()
            return
        if len(refused) >= MOST_REFUSED:
            next(iter(refused)).transport.abort()
        refused[self] = self._share

    def _head_timed_out(self) -> None:
        self._ignore_input = True
        if self._over_limit:
            self._refuse(self._over_limit)
        else:
            self.transport.close()

    def _refuse(self, refusal: Refusal) -> None:
        """Refuse unreadable input. No earlier request is unanswered."""
        self._ignore_input = True
        self._head_timeout.stop()
        self._flush()
        if self._busy:  # the request whose body this is
            self.cycle.disconnected = True
            self.cycle.waiting_for_100_continue = False
            self.cycle.message_event.set()
        if not (self._busy and self.cycle.response_started):
            self.transport.write(refusal_response(refusal, self.server_state.default_headers))
        self._close(read_on=True)
        self.loop.call_later(READ_ON_SECONDS, self._stop_reading)

    def _close(self, *, read_on: bool = False) -> None:
        """End our side and give the client a moment to read the answer.

        Closing a socket with unread bytes resets the connection, and the client or a proxy loses
        the answer. What the client still sends of an unfinished request is not read: a proxy that
        can't write looks for an answer, and one that can may not look until writing fails.
        """
        self._ignore_input = True
        self._waiting = b""
        if self.transport.is_closing():
            return
        self._flush()
        self.flow.resume_reading()
        self._unset_keepalive_if_required()
        if self.in_head or read_on or self._input_ended:
            self.transport.resume_reading()
        else:
            self._stop_reading()
        self.transport.write_eof()
        abort_once_sent(self.transport, self.loop)

    def _stop_reading(self) -> None:
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def _flush(self) -> None:
        if self.cycle is not None and isinstance(self.cycle.transport, WriteCoalescing):
            self.cycle.transport.flush()

    # --- answers that the client accepts slowly ---------------------------------------------

    def pause_writing(self) -> None:
        super().pause_writing()
        self._answer_timeout.start()
        self.config.unsent.add(self.transport, self._owner, self._limits.max_unsent_bytes)

    def resume_writing(self) -> None:
        self.config.unsent.discard(self.transport)
        self._answer_timeout.stop()
        super().resume_writing()

    @property
    def _owner(self) -> bytes | str:
        """Whose answer this is: the key as it was sent, or else the address."""
        sent = dict(self.cycle.scope["headers"])
        return sent.get(b"authorization") or sent.get(b"api-key") or self._share

    def on_response_complete(self) -> None:
        if self.transport.get_write_buffer_size():
            self._answer_timeout.start()
        if self._ignore_input:
            return
        super().on_response_complete()
        if self._input_paused:
            self._input_paused = False
            self.transport.resume_reading()
        if self._waiting:
            self._flush()
            self.data_received(b"")
        if self._input_ended and not (self._busy and self.in_head):
            self._close()
