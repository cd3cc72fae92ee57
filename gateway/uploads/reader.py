"""Reads a request's body as it arrives: multipart or JSON in, an Edit out.

The one home of BLAKE3, of stringzilla, and of python-multipart, of which only the reader of
header options is used. The body is touched once: every piece goes from its framing
(`rules.framing`) to the hash and to the spool. What may come is decided in `rules.intake`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import lru_cache
from typing import Protocol

from blake3 import blake3
from python_multipart.multipart import parse_options_header
from stringzilla import find

from gateway.model.edit import Edit, Route
from gateway.model.errors import Refusal
from gateway.uploads.rules.declared_headers import check_content_type, too_large
from gateway.uploads.rules.incoming_file import Keeper, Part
from gateway.uploads.rules.json_body import EditDocument, GenerationDocument
from gateway.uploads.rules.multipart_parser import MultipartParser, headers_of
from gateway.uploads.rules.part_collector import PartCollector, UploadChecks
from gateway.uploads.rules.upload_limits import UploadLimits

_PIECE_BYTES = 1 << 20
_USUAL_HEAD_BYTES = 512
_KNOWN_HEADS = 256
_PLAIN_ENCODINGS = frozenset({b"", b"7bit", b"8bit", b"binary"})


class Spool(Keeper, Protocol):
    """Where files are kept, with room to be made off the loop. See `edges.spool`."""

    @property
    def full(self) -> bool: ...

    async def spill(self) -> None: ...


def digest(data: bytes) -> str:
    """The BLAKE3 hash of `data` as 64 hex digits."""
    return blake3(data).hexdigest()


async def read_edit(
    chunks: AsyncIterator[bytes],
    content_type: str,
    *,
    route: Route,
    bounds: UploadLimits,
    spool: Spool,
    gatekeeper: UploadChecks,
) -> Edit:
    """Read a whole body. Raises Refusal as soon as what has come can't be taken.

    Files go to `spool`, which stays the caller's; errors out of `chunks` pass through.
    """
    intake = PartCollector(route, bounds, gatekeeper, spool, blake3)
    reader = _reader(content_type, route, bounds, intake)
    body_bytes = 0
    async for chunk in chunks:
        body_bytes += len(chunk)
        if body_bytes > bounds.max_body_bytes:
            raise too_large(bounds.max_body_bytes)
        for piece in _pieces(chunk):
            reader.feed(piece)
            if spool.full:
                await spool.spill()
    return reader.finish(body_bytes)


def _pieces(chunk: bytes) -> Iterator[bytes]:
    if len(chunk) <= _PIECE_BYTES:
        yield chunk
        return
    for start in range(0, len(chunk), _PIECE_BYTES):
        yield chunk[start : start + _PIECE_BYTES]


class _Reader(Protocol):
    def feed(self, piece: bytes) -> None: ...

    def finish(self, body_bytes: int) -> Edit: ...


def _reader(
    content_type: str, route: Route, bounds: UploadLimits, intake: PartCollector
) -> _Reader:
    check_content_type(route, content_type)
    kind, options = parse_options_header(content_type)
    if kind == b"multipart/form-data":
        return _Form(options.get(b"boundary", b""), bounds, intake)
    if route == "generations":
        return GenerationDocument(bounds, intake)
    return EditDocument(bounds, intake)


class _Form:
    """multipart/form-data: what its framing tells, turned into parts of the intake."""

    def __init__(self, boundary: bytes, bounds: UploadLimits, intake: PartCollector) -> None:
        if not boundary:
            message = "Content-Type names no boundary. Let the client library set Content-Type."
            raise Refusal("invalid_multipart", message)
        self._intake = intake
        self._framing = MultipartParser(boundary, _Parts(intake), bounds.max_header_bytes, find)
        self.feed = self._framing.feed

    def finish(self, body_bytes: int) -> Edit:
        if not self._framing.ended:
            raise Refusal(
                "invalid_multipart",
                "The multipart body ends without its closing boundary: the upload was cut "
                "short. Send it again, whole.",
            )
        return self._intake.edit(body_bytes=body_bytes)


class _Parts:
    """Parts as the framing finds them, told to the intake."""

    def __init__(self, intake: PartCollector) -> None:
        self._intake = intake
        self.data, self.end = intake.data, intake.end

    def begin(self, head: bytes) -> None:
        known = len(head) <= _USUAL_HEAD_BYTES
        self._intake.begin(_known_part(head) if known else _part(head))


def _part(head: bytes) -> Part:
    """A part's head, as its headers say it."""
    headers = headers_of(head)
    disposition, options = parse_options_header(headers.get(b"content-disposition"))
    if disposition != b"form-data" or b"name" not in options:
        raise _bad_part("has no Content-Disposition: form-data with a name")
    if headers.get(b"content-transfer-encoding", b"").strip().lower() not in _PLAIN_ENCODINGS:
        raise _bad_part("has a Content-Transfer-Encoding; send the bytes as they are")
    media_type = headers.get(b"content-type", b"").strip().lower().decode("latin-1")
    if media_type.startswith("multipart/"):
        raise _bad_part("is multipart itself; send each file as a part of its own")
    try:
        name = options[b"name"].decode("utf-8")
    except UnicodeDecodeError:
        raise _bad_part("has a name that is not UTF-8") from None
    file_name = options.get(b"filename")
    shown = None if file_name is None else file_name.decode("utf-8", "replace")
    return Part(name, shown, media_type)


_known_part = lru_cache(_KNOWN_HEADS)(_part)
"""Clients send the same few heads again and again."""


def _bad_part(why: str) -> Refusal:
    return Refusal("invalid_multipart", f"A part of the multipart body {why}.")
