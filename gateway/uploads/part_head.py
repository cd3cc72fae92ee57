"""The headers of one part of a multipart body."""

from __future__ import annotations

import re
from dataclasses import dataclass
from encodings import normalize_encoding
from encodings.aliases import aliases
from functools import lru_cache

from python_multipart.multipart import parse_options_header

from gateway.model.errors import Refusal
from gateway.uploads.rules.multipart_parser import bad_part, malformed
from gateway.wire.request_fields import SCALARS, is_picture

_LONGEST_CACHED_HEAD_BYTES = 512
_CACHED_HEADS = 256
_PLAIN_ENCODINGS = frozenset({b"", b"7bit", b"8bit", b"binary"})
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CHARSETS = frozenset(
    {
        *("ascii", "utf_8", "utf_16", "utf_16_be", "utf_16_le", "latin_1", "koi8_r", "koi8_u"),
        *("shift_jis", "cp932", "euc_jp", "iso2022_jp", "euc_kr", "cp949", "gb18030", "gbk"),
        *("gb2312", "big5", *(f"cp125{number}" for number in range(9))),
        *(f"iso8859_{number}" for number in range(2, 17) if number != 12),
    }
)
"""Codecs of Python for text fields. None of them runs code or expands its input much."""
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class PartHead:
    """The name of a part, and its declared file name and media type."""

    name: str
    file_name: str | None = None
    media_type: str = ""
    codec: str = "utf_8"
    """Python's codec for the declared charset, or "" if that is not accepted."""

    @property
    def is_file(self) -> bool:
        """A part is a file if it has a file name, a picture's name, or a picture's media type.

        Any other part is text: some clients declare application/octet-stream for it.
        """
        if self.name in SCALARS:
            return False
        is_media = self.media_type.startswith(("image/", "video/", "audio/"))
        return bool(self.file_name) or is_media or is_picture(self.name)

    def decode(self, data: bytes | bytearray) -> str:
        """The text of a field. Raises Refusal."""
        if not self.codec:
            message = f"The field `{self.name}` declares a charset that is not accepted here."
        else:
            try:
                return data.decode(self.codec)
            except UnicodeDecodeError:
                message = f"The field `{self.name}` is not text in {self.codec.replace('_', '-')}."
        hint = "Send it as UTF-8; a file needs a file name."
        raise Refusal("invalid_field", f"{message} {hint}", param=self.name)


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
    media_type, parameters = parse_options_header(headers.get(b"content-type"))
    if media_type.startswith(b"multipart/"):
        raise bad_part("is multipart itself; send each file as a part of its own")
    try:
        name = options[b"name"].decode("utf-8")
    except UnicodeDecodeError:
        raise bad_part("has a name that is not UTF-8") from None
    file_name = options.get(b"filename")
    return PartHead(
        name,
        None if file_name is None else file_name.decode("utf-8", "replace"),
        media_type.decode("latin-1"),
        _codec_of(parameters.get(b"charset", b"utf-8").decode("latin-1")),
    )


def _codec_of(charset: str) -> str:
    key = normalize_encoding(charset).lower()
    codec = aliases.get(key, key)
    return codec if codec in _CHARSETS else ""


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
