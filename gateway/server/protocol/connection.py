"""One connection of a client: uvicorn's protocol, within `ConnectionLimits`.

uvicorn by itself reads heads of any length for any time, answers malformed requests in plain
text, and keeps an answer that the client does not accept until the connection breaks.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import httptools
import uvicorn
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway.model.errors import Refusal
from gateway.server.protocol.connection_limits import ConnectionLimits
from gateway.server.protocol.direct_read import READ_BYTES, Receiver
from gateway.server.protocol.early_close import (
    close_after_answer,
    refusal_response,
    too_many_connections,
)
from gateway.server.protocol.request_head import (
    body_bytes,
    check_head,
    head_too_large,
    malformed_request,
)
from gateway.server.protocol.slow_client import AnswerTimeout, HeadTimeout
from gateway.server.protocol.write_coalescing import WriteCoalescing

CHUNK_FRAME_BYTES = 32
"""Framing allowed for each chunk; the framing of a body may exceed it by `max_header_bytes`."""
IPV4_IN_IPV6 = "::ffff:"
MOST_REFUSED_AT_ONCE = 100
"""Connections over the limit that are answered at a time; further ones are just closed."""


class ServerConfig(uvicorn.Config):
    """uvicorn's configuration, and ours; worker processes receive it pickled."""

    connection_limits: ConnectionLimits = ConnectionLimits()
    closing: bool = False
    """Every connection is closed after its next answer."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.read_buffer = bytearray(READ_BYTES)
        self.refused = set[ClientConnection]()
        """Connections over the limit, while they are being refused."""


class ClientConnection(HttpToolsProtocol):
    """uvicorn creates one for each connection, in its event loop."""

    config: ServerConfig

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._limits = self.config.connection_limits
        self.in_head = True
        self.missing_bytes = 0
        self._unanswered: deque[RequestResponseCycle] = deque()
        """More than one if the client pipelines requests."""
        self._ignore_input = False
        """The connection is about to end."""
        self._refusal: Refusal | None = None
        """Raised in a parser callback; the parser replaces it by an error of its own."""
        self._header_lines = 0
        self._head_bytes = 0
        self._bytes_since_progress = 0
        """Received since the last piece of a body, or the end of a head or request."""
        self._frame_bytes = 0
        """The framing of a chunked body, less what its chunks are allowed."""

    # --- beginning and end --------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_timeout = HeadTimeout(
            self.loop, self._limits.header_seconds, self._close_silently
        )
        self._answer_timeout = AnswerTimeout(self.loop, self._limits.answer_seconds, transport)
        if self.client and self.client[0].startswith(IPV4_IN_IPV6):
            self.client = self.client[0].removeprefix(IPV4_IN_IPV6), self.client[1]
        transport.set_protocol(Receiver(self, transport, self.config.read_buffer))
        if len(self.connections) > self._limits.max_connections:
            self._refuse_connection()
        else:
            self._head_timeout.start()

    def connection_lost(self, exc: Exception | None) -> None:
        self.config.refused.discard(self)
        self._head_timeout.stop()
        self._answer_timeout.stop()
        for cycle in self._unanswered:  # uvicorn marks only the last one
            cycle.disconnected = True
            cycle.message_event.set()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        self._flush()
        super().shutdown()

    def close_after_next_answer(self) -> None:
        """Have the current answer, or else the next one, say `connection: close`."""
        if self._busy and not self.cycle.response_started:
            self.cycle.keep_alive = False

    def _close_silently(self) -> None:
        self._ignore_input = True
        self.transport.close()

    # --- receiving ------------------------------------------------------------------------

    def data_received(self, data: bytes | memoryview) -> None:
        if self._ignore_input:
            return
        self._unset_keepalive_if_required()
        if self.in_head and not self._busy:
            self._head_timeout.start()
        self._bytes_since_progress += len(data)
        self._frame_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            return  # unsupported protocols are ignored, and the request is answered as usual
        except httptools.HttpParserError:
            self._refuse(self._refusal or malformed_request())
            return
        if max(self._bytes_since_progress, self._frame_bytes) > self._limits.max_header_bytes:
            self._refuse(head_too_large(self._limits))

    def body_received(self, body: bytes, new_bytes: int) -> None:
        """Called by `Receiver` instead of `data_received`, with bytes of a body."""
        self.missing_bytes -= new_bytes
        if self._ignore_input:
            return
        self._unset_keepalive_if_required()
        self._pass_on(body, is_last=not self.missing_bytes)
        if not self.missing_bytes:
            self.parser = _new_parser(self)  # the old one still expects the body
            # Bytes after the last request are read and dropped: closing with unread bytes would
            # reset the connection, and lose the answer.
            self._ignore_input = not self.cycle.keep_alive
            self.on_message_complete()

    @property
    def unread_bytes(self) -> int:
        return 0 if self.cycle.response_complete else len(self.cycle.body)

    def take_back(self) -> bytes:
        unread = bytes(self.cycle.body)
        self.cycle.body = b""  # type: ignore[assignment]
        return unread

    # --- callbacks of the parser ------------------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._header_lines = self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_lines += 1
        self._count(len(name) + len(value) + len(": \r\n"))
        if self.in_head:  # trailers of a chunked body are dropped
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        try:
            check_head(self.headers, self.parser.get_http_version())
        except Refusal as refusal:
            self._refusal = refusal
            raise
        super().on_headers_complete()
        # The cycle only calls `write`, `is_closing` and `close`.
        self.cycle.transport = WriteCoalescing(self.transport, self.loop)  # type: ignore[assignment]
        self._unanswered.append(self.cycle)
        self._head_timeout.stop()
        self.in_head = False
        self.missing_bytes = body_bytes(self.headers)
        self._bytes_since_progress = self._frame_bytes = 0
        if self.config.closing:
            self.close_after_next_answer()

    def on_body(self, body: bytes) -> None:
        self._bytes_since_progress = 0
        self._frame_bytes -= len(body)
        if self.missing_bytes:
            self.missing_bytes -= len(body)
        self._pass_on(body)

    def on_chunk_header(self) -> None:
        self._frame_bytes -= CHUNK_FRAME_BYTES

    def on_message_complete(self) -> None:
        self.in_head = True
        self.missing_bytes = self._bytes_since_progress = self._frame_bytes = 0
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

    def _count(self, head_bytes: int) -> None:
        """Raises `headers_too_large` out of the parser."""
        self._head_bytes += head_bytes
        limits = self._limits
        if self._header_lines > limits.max_header_lines or (
            self._head_bytes > limits.max_header_bytes
        ):
            self._refusal = head_too_large(limits)
            raise self._refusal

    # --- refusing before the app sees a request -----------------------------------------------

    @property
    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse_connection(self) -> None:
        self.connections.discard(self)
        self._ignore_input = True
        if len(self.config.refused) >= MOST_REFUSED_AT_ONCE:
            self.transport.abort()  # answering a flood would take the files of other clients
            return
        self.config.refused.add(self)
        self._write_refusal(too_many_connections())
        self._linger()

    def _refuse(self, refusal: Refusal) -> None:
        """Refuse unreadable input, unless earlier requests are still being answered."""
        self._ignore_input = True
        self._head_timeout.stop()
        if self._busy and not self.cycle.more_body:
            self.cycle.keep_alive = False  # the earlier requests are complete: answer them
            return
        if self.pipeline:
            self.transport.abort()  # its body broke off while another request is being answered
            return
        answer_started = self._busy and self.cycle.response_started
        if self._busy:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if not answer_started:
            self._write_refusal(refusal)
        self._linger()

    def _write_refusal(self, refusal: Refusal) -> None:
        self.transport.write(refusal_response(refusal, self.server_state.default_headers))

    def _linger(self) -> None:
        if not self.transport.is_closing():
            self._flush()
            self.flow.resume_reading()
            close_after_answer(self.transport, self.loop)

    def _flush(self) -> None:
        if self.cycle is not None and isinstance(self.cycle.transport, WriteCoalescing):
            self.cycle.transport.flush()

    # --- answers that the client accepts slowly ---------------------------------------------

    def pause_writing(self) -> None:
        super().pause_writing()
        self._answer_timeout.start()

    def resume_writing(self) -> None:
        self._answer_timeout.stop()
        super().resume_writing()

    def on_response_complete(self) -> None:
        self._unanswered.popleft()
        super().on_response_complete()
        if self.transport.get_write_buffer_size():
            self._answer_timeout.start()


def _new_parser(connection: ClientConnection) -> httptools.HttpRequestParser:
    """A parser as uvicorn creates it for a new connection."""
    parser = httptools.HttpRequestParser(connection)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser
