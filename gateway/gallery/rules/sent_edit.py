"""What was sent for a result: which of it is kept, how it is written, and which versions it has."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from gateway.model.caller import Keeping

Field = tuple[str, str]
_PROMPTS = ("model", "prompt")
_OF_THE_REQUEST = frozenset(
    {"user", "safety_identifier", "stream", "partial_images", "response_format"}
)
"""Fields that name a person, or how an answer is sent: they change no picture, and are not kept."""


@dataclass(frozen=True, slots=True)
class SentFile:
    """A picture that was sent: its field, and the digest of its bytes."""

    field: str
    digest: str


@dataclass(frozen=True, slots=True)
class SentEdit:
    """An edit whose result is stored. `read` gives the bytes of its files, slowly."""

    fields: tuple[Field, ...]
    files: tuple[SentFile, ...]
    read: Callable[[], list[bytes]]
    end_user: str
    variant: str
    team_keeps: str
    """What the team's own setting says; empty where it has none."""

    @property
    def family(self) -> str:
        """The same for all versions of an edit: what was sent, but for the variant."""
        files = [(each.field, each.digest) for each in self.files]
        text = json.dumps([sorted(picture_fields(self.fields)), files])
        return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class KeptInputs:
    """What is kept of an edit; `files` only where pictures are kept."""

    fields: tuple[Field, ...]
    files: tuple[tuple[str, bytes], ...]

    @property
    def prompt(self) -> str:
        return next((text for name, text in self.fields if name == "prompt"), "")


def picture_fields(fields: Sequence[Field]) -> list[Field]:
    """The fields that can change a picture."""
    return [(name, text) for name, text in fields if name not in _OF_THE_REQUEST]


def written(edit: SentEdit, keeping: Keeping) -> bytes:
    """What is kept, as a body whose pictures are read like those of an answer. Slow."""
    fields = picture_fields(edit.fields)
    if keeping == "prompts":
        fields = [(name, text) for name, text in fields if name in _PROMPTS]
    contents = edit.read() if keeping == "all" else []
    names = [each.field for each, _ in zip(edit.files, contents, strict=False)]
    data = [{"b64_json": b64encode(content).decode()} for content in contents]
    return json.dumps({"fields": fields, "files": names, "data": data}).encode()


def read_back(body: bytes) -> KeptInputs:
    """What was kept. Slow."""
    kept = json.loads(body)
    contents = [b64decode(item["b64_json"]) for item in kept["data"]]
    return KeptInputs(
        fields=tuple((name, text) for name, text in kept["fields"]),
        files=tuple(zip(kept["files"], contents, strict=True)),
    )


def as_form(kept: KeptInputs, boundary: str) -> bytes:
    """The edit as a form, to send it once more."""
    head = f"--{boundary}\r\nContent-Disposition: form-data; name="
    parts = [f'{head}"{name}"\r\n\r\n{text}\r\n'.encode() for name, text in kept.fields]
    for place, (name, content) in enumerate(kept.files):
        opening = f'{head}"{name}"; filename="{place}"\r\n\r\n'.encode()
        parts += [opening, content, b"\r\n"]
    return b"".join([*parts, f"--{boundary}--\r\n".encode()])
