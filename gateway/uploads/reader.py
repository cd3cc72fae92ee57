"""Reads a request body as it arrives: multipart or JSON in, an `Edit` out, in one pass.

An upload takes five hops from the socket to its hash:

1. `ClientConnection` (server/protocol) receives bytes from the socket.
2. `Exchange.chunks` (server) yields them, within the upload's time limits.
3. `read_edit` enforces the size limit, and spills the spool to disk when memory is short.
4. `MultipartParser.feed`, or `JsonReader.feed`, finds where each file begins and ends.
5. `UploadedFile.write` hashes the bytes and appends them to the spool.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Protocol

from python_multipart.multipart import parse_options_header
from stringzilla import find

from gateway.model.edit import Edit, Route
from gateway.uploads.edit_builder import EditBuilder, UploadChecks
from gateway.uploads.json_reader import JsonReader
from gateway.uploads.part_head import read_part_head
from gateway.uploads.rules.multipart_parser import MultipartParser
from gateway.uploads.rules.upload_limits import UploadLimits, body_too_large, check_content_type
from gateway.uploads.spool import Spool

_PIECE_BYTES = 1 << 20


class _BodyParser(Protocol):
    """Takes a body piece by piece and adds its contents to an EditBuilder."""

    def feed(self, piece: bytes) -> None: ...

    def finish(self) -> None: ...


async def read_edit(
    chunks: AsyncIterator[bytes],
    content_type: str,
    *,
    route: Route,
    limits: UploadLimits,
    spool: Spool,
    checks: UploadChecks,
) -> Edit:
    """Read a whole body. Raises Refusal as soon as the bytes so far are unacceptable.

    Files are appended to `spool`, which the caller closes; exceptions of `chunks` pass through.
    """
    builder = EditBuilder(route, limits, checks, spool)
    parser = _parser(content_type, route, limits, builder)
    body_bytes = 0
    async for chunk in chunks:
        body_bytes += len(chunk)
        if body_bytes > limits.max_body_bytes:
            raise body_too_large(limits.max_body_bytes)
        for piece in _pieces(chunk):
            parser.feed(piece)
            if spool.full:
                await spool.spill()
    parser.finish()
    return builder.build(body_bytes)


def _pieces(chunk: bytes) -> Iterator[bytes]:
    for start in range(0, len(chunk), _PIECE_BYTES):
        yield chunk[start : start + _PIECE_BYTES]  # the chunk itself where one piece is enough


def _parser(
    content_type: str, route: Route, limits: UploadLimits, builder: EditBuilder
) -> _BodyParser:
    check_content_type(route, content_type)
    kind, options = parse_options_header(content_type)
    if kind == b"multipart/form-data":
        return MultipartParser(
            options.get(b"boundary", b""),
            lambda head: builder.begin_part(read_part_head(head)),
            builder.end_part,
            limits.max_header_bytes,
            find,
        )
    return JsonReader(limits, builder, route)
