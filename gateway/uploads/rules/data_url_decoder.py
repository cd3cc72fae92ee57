"""Decodes pictures in base64, with or without `data:`, as they arrive inside JSON text."""

from __future__ import annotations

import binascii
import json
import re

from gateway.model.errors import Refusal
from gateway.uploads.rules.upload_limits import UploadLimits

_HEAD = re.compile(rb"data:[^,\s]{0,200};base64", re.IGNORECASE)
_LONGEST_HEAD = 256
RAW = ("iVBORw0KGgo", "/9j/", "UklGR", "R0lGOD")
"""How PNG, JPEG, WebP and GIF begin in base64."""
_RAW = tuple(map(str.encode, RAW))
_BLANKS = (b" ", b"\t", b"\r", b"\n")


class DataUrlDecoder:
    """Decodes one data URL, or the base64 of a picture, given as JSON text with its escapes."""

    def __init__(self, label: str, limits: UploadLimits) -> None:
        self._label = label
        self._limits = limits
        self._chars = 0
        self._escape = b""
        self._head: bytes | None = b""
        self._rest = b""
        self._padded = False

    def feed(self, piece: bytes) -> bytes:
        """The bytes that the next piece of text encodes. Raises Refusal."""
        self._chars += len(piece)
        if self._chars > self._limits.max_data_url_chars:
            raise Refusal(
                "image_too_large",
                f"{self._label} is longer than {self._limits.max_data_url_chars:,} characters. "
                "Send it as multipart/form-data, or a smaller one.",
            )
        if self._escape or b"\\" in piece:
            piece = self._unescaped(self._escape + piece)
        return self._decoded(self._without_head(piece))

    def finish(self) -> bytes:
        """The last bytes; padding may be left out. Raises Refusal."""
        if self._head is not None or self._escape:
            raise self._malformed()
        rest, self._rest = self._rest, b""
        return self._decoded(rest + b"=" * (-len(rest) % 4)) if rest else b""

    def _without_head(self, piece: bytes) -> bytes:
        if self._head is None:
            return piece
        text = self._head + piece
        if text.startswith(_RAW):
            self._head = None
            return text
        head, comma, body = text.partition(b",")
        if not comma:
            self._head = head
            if len(head) > _LONGEST_HEAD:
                raise self._malformed()
            return b""
        if not _HEAD.fullmatch(head):
            raise self._malformed()
        self._head = None
        return body

    def _unescaped(self, text: bytes) -> bytes:
        """Resolve JSON escapes; an incomplete one waits for the next piece."""
        last = text.rfind(b"\\", max(0, len(text) - 5))
        whole = last < 0 or len(text) - last >= (6 if text[last + 1 : last + 2] == b"u" else 2)
        text, self._escape = (text, b"") if whole else (text[:last], text[last:])
        try:
            return str(json.loads(b'"%b"' % text)).encode("ascii")
        except ValueError:
            raise self._malformed() from None

    def _decoded(self, text: bytes) -> bytes:
        if any(blank in text for blank in _BLANKS):  # some encoders break lines
            text = text.translate(None, b"".join(_BLANKS))
        text = self._rest + text
        usable = len(text) - len(text) % 4
        text, self._rest = text[:usable], text[usable:]
        if text and self._padded:
            raise self._malformed()
        self._padded = self._padded or text.endswith(b"=")
        try:
            return binascii.a2b_base64(text, strict_mode=True)
        except ValueError:
            raise self._malformed() from None

    def _malformed(self) -> Refusal:
        return Refusal(
            "invalid_image",
            f"{self._label} is not a picture in base64. Send it as data:image/png;base64,… .",
        )
