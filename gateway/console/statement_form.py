"""A form with a statement: the file that was chosen, or what a preview has kept of it in the page.

The server keeps no statement between preview and confirmation: the page carries it, packed, where
it is small; else the file is chosen again.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import zlib
from collections.abc import AsyncIterator

from gateway.model.errors import Refusal
from gateway.uploads.rules.multipart_parser import MultipartParser, Write

MOST_PACKED_CHARS = 2**18
_MOST_HEAD_BYTES = 8_192


async def uploaded_file(chunks: AsyncIterator[bytes], most_bytes: int) -> bytes:
    """The file of a multipart form; empty where none was chosen.

    Raises `body_too_large`, `invalid_multipart`.
    """
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > most_bytes:
            raise Refusal(
                "body_too_large",
                f"A statement has at most {most_bytes:,} bytes here; `gateway ledger reconcile` "
                "reads larger ones.",
                param="statement",
            )
    return await asyncio.to_thread(_file_of, bytes(body))


def _file_of(body: bytes) -> bytes:
    file = bytearray()

    def begin(head: bytes) -> Write:
        return file.extend if b"filename=" in head else _drop

    boundary = body.partition(b"\r\n")[0].removeprefix(b"--")
    parser = MultipartParser(boundary, begin, lambda: None, _MOST_HEAD_BYTES)
    parser.feed(body)
    parser.finish()
    return bytes(file)


def _drop(piece: bytes | memoryview) -> None:
    """A text field, which has been read already."""


def packed(statement: bytes) -> str:
    """The statement for a field of the page; empty where it is too large for one."""
    text = base64.b64encode(zlib.compress(statement, 9)).decode()
    return text if len(text) <= MOST_PACKED_CHARS else ""


def unpacked(text: str, most_bytes: int) -> bytes:
    """The statement in a field of the page. Raises `invalid_field`."""
    try:
        unpacking = zlib.decompressobj()
        statement = unpacking.decompress(base64.b64decode(text, validate=True), most_bytes)
    except (ValueError, binascii.Error, zlib.error):
        statement, unpacking = b"", zlib.decompressobj()
    if not unpacking.eof:
        raise Refusal("invalid_field", "Choose the statement again.", param="statement")
    return statement
