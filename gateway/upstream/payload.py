"""A request's body from its pieces: text as it is, files from the spool, some of them as base64."""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import AsyncGenerator

from gateway.uploads.spool import Spool
from gateway.upstream.call import Payload
from gateway.wire.multipart_writer import Base64Range, EncodedBody

_BASE64_CHUNK_BYTES = 3 << 18


def payload_of(body: EncodedBody, spool: Spool) -> Payload:
    """The body of one attempt. Its length is known before a file is read."""
    return Payload(body.content_type, body.content_length, _chunks(body, spool))


async def _chunks(body: EncodedBody, spool: Spool) -> AsyncGenerator[bytes | memoryview, None]:
    for segment in body.segments:
        if isinstance(segment, bytes):
            yield segment
        elif isinstance(segment, Base64Range):
            async for text in _base64(segment, spool):
                yield text
        else:
            async for chunk in spool.chunks(segment.offset, segment.size):
                yield chunk


async def _base64(picture: Base64Range, spool: Spool) -> AsyncGenerator[bytes, None]:
    """The picture's base64; only whole groups of three bytes are coded before its end."""
    rest = b""
    async for chunk in spool.chunks(picture.offset, picture.size, _BASE64_CHUNK_BYTES):
        data = b"".join((rest, chunk))
        whole = len(data) // 3 * 3
        rest = data[whole:]
        yield b2a_base64(memoryview(data)[:whole], newline=False)
    yield b2a_base64(rest, newline=False)
