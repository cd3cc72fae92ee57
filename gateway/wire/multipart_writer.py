"""What goes upstream of an edit: a multipart body in our own framing, or a JSON document."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from gateway.model.edit import AdapterFacts, Edit, Upload, is_reference
from gateway.wire.json_cutter import plain_parse
from gateway.wire.request_fields import MASK, REFERENCES, canonical, is_picture, root_of

_ENDINGS = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "image/gif": "gif",
    "image/bmp": "bmp",
    "image/avif": "avif",
    "image/heic": "heic",
    "image/svg+xml": "svg",
}
_CR = re.compile(rb"\\r\\n|\\.")
"""Every escape of a JSON text, a CRLF as one."""


@dataclass(frozen=True, slots=True)
class SpoolRange:
    """Bytes that lie in the request's spool."""

    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Base64Range:
    """Bytes that lie in the request's spool, sent as base64."""

    offset: int
    size: int

    @property
    def text_bytes(self) -> int:
        return (self.size + 2) // 3 * 4


@dataclass(frozen=True, slots=True)
class EncodedBody:
    """A body in pieces, in order: framing as bytes, files as ranges of the spool."""

    content_type: str
    content_length: int
    segments: tuple[bytes | SpoolRange | Base64Range, ...]


def outgoing_fields(edit: Edit, facts: AdapterFacts) -> tuple[tuple[str, str], ...]:
    """The text fields as they go upstream, in canonical form; empty optional ones are left out.

    Sorted by root. Fields of one root keep their order: it groups fields such as `layers[][x]`.
    """
    sent = (field for field in edit.fields if field[1] or field[0] not in facts.defaults)
    ordered = sorted(sent, key=lambda field: root_of(field[0]))
    return tuple((name, canonical(name, text)) for name, text in ordered)


def outgoing_members(edit: Edit, facts: AdapterFacts) -> dict[str, Any]:
    """The members of a JSON document as they go upstream; empty optional ones are left out."""
    members = plain_parse(_CR.sub(_with_lf, edit.document))
    optional = facts.defaults
    return {n: v for n, v in members.items() if n not in optional or v not in (None, "")}


def _with_lf(escape: re.Match[bytes]) -> bytes:
    return b"\\n" if escape[0].startswith(b"\\r") else escape[0]


def outgoing_uploads(edit: Edit) -> tuple[Upload, ...]:
    """The files as they go upstream: references in their order, the mask, then the others.

    A reference `image`, or `image[N]` at place N, is sent as `image[]`. `image[1]` before
    `image[0]` keeps its name: an upstream may sort the references by their numbers.
    """
    references = tuple([_as_sent(upload, at) for at, upload in enumerate(edit.references)])
    if len(references) == len(edit.uploads):
        return references
    masks = (upload for upload in edit.uploads if upload.field == MASK)
    others = (upload for upload in edit.uploads if not is_picture(upload.field))
    return (*references, *masks, *sorted(others, key=lambda upload: root_of(upload.field)))


def _as_sent(reference: Upload, place: int) -> Upload:
    if reference.field in ("image", f"image[{place}]"):
        return replace(reference, field=REFERENCES)
    return reference


def encode(edit: Edit, boundary: str, facts: AdapterFacts) -> EncodedBody:
    """The fields of `outgoing_fields` and the files of `outgoing_uploads`.

    `boundary` must be random (128 bits or more, as hex), so that no content holds it. File
    names are ours; media types follow from the files' first bytes.
    """
    segments: list[bytes | SpoolRange] = []
    framing = bytearray()
    for name, text in outgoing_fields(edit, facts):
        framing += _opening(boundary, name) + b"\r\n\r\n" + text.encode("utf-8") + b"\r\n"
    references = 0
    for upload in outgoing_uploads(edit):
        references += is_reference(upload.field)
        file_name = _file_name(upload, references)
        framing += _opening(boundary, upload.field)
        framing += f'; filename="{file_name}"\r\n'.encode()
        framing += f"Content-Type: {upload.media_type}\r\n\r\n".encode("ascii")
        segments += (bytes(framing), SpoolRange(upload.offset, upload.size))
        framing = bytearray(b"\r\n")
    framing += f"--{boundary}--\r\n".encode("ascii")
    segments.append(bytes(framing))
    length = sum(s.size if isinstance(s, SpoolRange) else len(s) for s in segments)
    return EncodedBody(f"multipart/form-data; boundary={boundary}", length, tuple(segments))


def _opening(boundary: str, name: str) -> bytes:
    """A part's start; the three characters that could end the quoted name are escaped."""
    safe = name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    return f'--{boundary}\r\nContent-Disposition: form-data; name="{safe}"'.encode()


def _file_name(upload: Upload, references: int) -> str:
    ending = _ENDINGS.get(upload.media_type, "bin")
    if is_reference(upload.field):
        return f"image-{references}.{ending}"
    return f"{MASK if upload.field == MASK else 'file'}.{ending}"
