"""The headers of one part of a multipart body."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from python_multipart.multipart import parse_options_header

from gateway.uploads.rules.multipart_parser import bad_part, malformed
from gateway.uploads.rules.picture_sniffer import OCTETS
from gateway.wire.request_fields import is_picture

_LONGEST_CACHED_HEAD_BYTES = 512
_CACHED_HEADS = 256
_PLAIN_ENCODINGS = frozenset({b"", b"7bit", b"8bit", b"binary"})
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class PartHead:
    """The name of a part, and its declared file name and media type."""

    name: str
    file_name: str | None = None
    media_type: str = ""

    @property
    def is_file(self) -> bool:
        """Pictures without a file name and parts of a binary media type are files too."""
        binary = self.media_type.startswith(("image/", "video/", "audio/", OCTETS))
        return bool(self.file_name) or binary or is_picture(self.name)


def read_part_head(head: bytes) -> PartHead:
    """Parse the header lines of a part. Raises Refusal."""
    return _cached(head) if len(head) <= _LONGEST_CACHED_HEAD_BYTES else _parse(head)


def _parse(head: bytes) -> PartHead:
    headers = parse_headers(head)
    disposition, options = parse_options_header(headers.get(b"content-disposition"))
    if disposition != b"form-data" or b"name" not in options:
        raise bad_part("has no Content-Disposition: form-data with a name")
    if headers.get(b"content-transfer-encoding", b"").strip().lower() not in _PLAIN_ENCODINGS:
        raise bad_part("has a Content-Transfer-Encoding; send the bytes unencoded")
    media_type = headers.get(b"content-type", b"").strip().lower().decode("latin-1")
    if media_type.startswith("multipart/"):
        raise bad_part("is multipart itself; send each file as a part of its own")
    try:
        name = options[b"name"].decode("utf-8")
    except UnicodeDecodeError:
        raise bad_part("has a name that is not UTF-8") from None
    file_name = options.get(b"filename")
    return PartHead(
        name, None if file_name is None else file_name.decode("utf-8", "replace"), media_type
    )


_cached = lru_cache(_CACHED_HEADS)(_parse)
"""Clients send the same few heads again and again."""


def parse_headers(head: bytes) -> dict[bytes, bytes]:
    """The headers of a part by their lower-case names. Raises Refusal."""
    headers: dict[bytes, bytes] = {}
    for line in head.split(b"\r\n") if head else ():
        name, colon, value = line.partition(b":")
        if not colon or not _NAME.fullmatch(name):
            raise malformed("a part has an invalid header line")
        if _CONTROL.search(value):
            raise bad_part("has control characters in a header")
        name = name.lower()
        if name in headers:
            raise bad_part("has the same header twice")
        headers[name] = value.strip(b" \t")
    return headers
