"""What goes upstream as JSON: text in pieces, with pictures as ranges of the spool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.model.edit import Upload
from gateway.wire.json_cutter import LongString, write
from gateway.wire.multipart_writer import Base64Range, EncodedBody, SpoolRange


@dataclass(frozen=True, slots=True)
class _Picture:
    prefix: str
    upload: Upload


@dataclass(slots=True)
class JsonBody:
    """A document whose pictures are read from the spool when they are sent."""

    _pictures: list[_Picture] = field(default_factory=list)

    def base64(self, upload: Upload, prefix: str = "") -> LongString:
        """The picture as a text of the document: its base64 behind `prefix`, which is ASCII."""
        self._pictures.append(_Picture(prefix, upload))
        return LongString(len(self._pictures) - 1)

    def data_url(self, upload: Upload) -> LongString:
        return self.base64(upload, f"data:{upload.media_type};base64,")

    def encode(self, document: Mapping[str, Any]) -> EncodedBody:
        segments: list[bytes | SpoolRange | Base64Range] = []
        text, length = bytearray(), 0
        for piece in write(document, self._pictures):
            if isinstance(piece, bytes):
                text += piece
                continue
            text += piece.prefix.encode("ascii")
            picture = Base64Range(piece.upload.offset, piece.upload.size)
            segments += (bytes(text), picture)
            length += len(text) + picture.text_bytes
            text = bytearray()
        segments.append(bytes(text))
        return EncodedBody("application/json", length + len(text), tuple(segments))
