"""The ways in which clients write the same request, and a reader to read them with."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gateway.model.edit import Edit, Route
from gateway.uploads.reader import read_edit
from gateway.uploads.rules.upload_limits import UploadLimits
from gateway.uploads.spool import Spool

BOUNDARY = "6c1f0a5b2d9e4c37"
Result = TypeVar("Result")


@dataclass(frozen=True)
class FormPart:
    """A part of a form; `file_name` None leaves the parameter out."""

    name: str
    content: bytes
    file_name: str | None = None
    media_type: str | None = None

    def encoded(self) -> bytes:
        head = f'Content-Disposition: form-data; name="{self.name}"'
        if self.file_name is not None:
            head += f'; filename="{self.file_name}"'
        if self.media_type is not None:
            head += f"\r\nContent-Type: {self.media_type}"
        return head.encode() + b"\r\n\r\n" + self.content


def text(name: str, value: str) -> FormPart:
    return FormPart(name, value.encode())


def file(name: str, content: bytes, file_name: str = "upload.png") -> FormPart:
    return FormPart(name, content, file_name, "application/octet-stream")


def form(parts: Iterable[FormPart], boundary: str = BOUNDARY) -> bytes:
    dashes = b"--" + boundary.encode()
    return (
        b"".join(dashes + b"\r\n" + part.encoded() + b"\r\n" for part in parts) + dashes + b"--\r\n"
    )


def form_type(boundary: str = BOUNDARY) -> str:
    return f"multipart/form-data; boundary={boundary}"


def png(seed: bytes = b"", width: int = 8, height: int = 8) -> bytes:
    """A PNG as far as its header goes, told apart by `seed`."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    size_and_crc = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + size_and_crc + seed


def data_url(content: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64," + base64.b64encode(content).decode()


def document(**members: object) -> bytes:
    return json.dumps(members).encode()


def usual(*images: bytes, **fields: str) -> list[FormPart]:
    """The parts of a plain edit of `images`, with more fields as wanted."""
    fields = {"model": "deepshi-image-1", "prompt": "make it grey", **fields}
    files = [file("image[]", image) for image in images or (png(),)]
    return [text(name, value) for name, value in fields.items()] + files


@dataclass
class EarlyChecks:
    """Checks that accept everything and record their calls."""

    heard: list[tuple[str, object]] = field(default_factory=list)

    def model_known(self, model: str) -> None:
        self.heard.append(("model", model))

    def reference_seen(self, count: int) -> None:
        self.heard.append(("reference", count))


async def arriving(body: bytes, sizes: Sequence[int] = (65_536,)) -> AsyncIterator[bytes]:
    """The body in chunks of these sizes, over and over."""
    position, turn = 0, 0
    while position < len(body):
        size = sizes[turn % len(sizes)]
        yield body[position : position + size]
        position, turn = position + size, turn + 1


def read(
    body: bytes,
    content_type: str | None = None,
    *,
    route: Route = "edits",
    limits: UploadLimits | None = None,
    gate: Any = None,
    sizes: Sequence[int] = (65_536,),
    spool: Spool | None = None,
) -> Edit:
    """Read a request that fits in memory: nothing is waited for, so no loop is needed."""
    return driven(
        read_edit(
            arriving(body, sizes),
            form_type() if content_type is None else content_type,
            route=route,
            limits=limits or UploadLimits(),
            spool=spool or Spool(),
            checks=gate or EarlyChecks(),
        )
    )


def driven(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """What a coroutine returns that never has to wait."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    coroutine.close()
    raise AssertionError("it waited")
