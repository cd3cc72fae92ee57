"""The multipart body that goes upstream: our own framing around the client's fields and files."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.model import Edit, Upload, is_reference
from gateway.rules.fields import MASK

_ENDINGS = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "image/gif": "gif",
    "image/bmp": "bmp",
    "image/svg+xml": "svg",
}


@dataclass(frozen=True, slots=True)
class Range:
    """Bytes that lie in the request's spool."""

    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Encoded:
    """A body in pieces, in order: framing as bytes, files as ranges of the spool."""

    content_type: str
    content_length: int
    segments: tuple[bytes | Range, ...]


def encode(edit: Edit, boundary: str) -> Encoded:
    """Every field and file of `edit`, in order, under the client's own names.

    `boundary` must be random (128 bits or more, as hex), so that no content holds it. File
    names are ours; file types are what the first bytes said.
    """
    segments: list[bytes | Range] = []
    framing = bytearray()
    for name, text in edit.fields:
        framing += _opening(boundary, name) + b"\r\n\r\n" + text.encode("utf-8") + b"\r\n"
    references = 0
    for upload in edit.uploads:
        references += is_reference(upload.field)
        file_name = _file_name(upload, references)
        framing += _opening(boundary, upload.field)
        framing += f'; filename="{file_name}"\r\n'.encode()
        framing += f"Content-Type: {upload.media_type}\r\n\r\n".encode("ascii")
        segments += (bytes(framing), Range(upload.offset, upload.size))
        framing = bytearray(b"\r\n")
    framing += f"--{boundary}--\r\n".encode("ascii")
    segments.append(bytes(framing))
    length = sum(s.size if isinstance(s, Range) else len(s) for s in segments)
    return Encoded(f"multipart/form-data; boundary={boundary}", length, tuple(segments))


def _opening(boundary: str, name: str) -> bytes:
    """A part's start; the three characters that could end the quoted name are escaped."""
    safe = name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    return f'--{boundary}\r\nContent-Disposition: form-data; name="{safe}"'.encode()


def _file_name(upload: Upload, references: int) -> str:
    ending = _ENDINGS.get(upload.media_type, "bin")
    if is_reference(upload.field):
        return f"image-{references}.{ending}"
    return f"{MASK if upload.field == MASK else 'file'}.{ending}"
