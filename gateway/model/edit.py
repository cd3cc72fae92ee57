"""A request for images, and its content address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

Route = Literal["edits", "generations"]


@dataclass(frozen=True, slots=True)
class Upload:
    """One file part, as a range of the request's spool."""

    field: str
    digest: str
    offset: int
    size: int
    media_type: str


@dataclass(frozen=True, slots=True)
class Edit:
    """A request that has been read and understood: text fields and files, in order.

    `fields` keep the client's names and texts; `uploads` lie in a spool that the reader owns.
    """

    route: Route
    model: str
    fields: tuple[tuple[str, str], ...]
    uploads: tuple[Upload, ...] = ()
    document: bytes = b""
    """A JSON request's own bytes (generations); empty for multipart."""
    body_bytes: int = 0
    n: int = 1
    references: tuple[Upload, ...] = field(init=False, compare=False, repr=False)
    """The reference images, in order: every `image`, `image[]` or `image[N]`."""

    def __post_init__(self) -> None:
        found = tuple(upload for upload in self.uploads if is_reference(upload.field))
        object.__setattr__(self, "references", found)


def is_reference(field_name: str) -> bool:
    """True for a reference image's field: `image`, `image[]`, `image[0]` …"""
    return field_name == "image" or (field_name.startswith("image[") and field_name.endswith("]"))


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The content address of an edit; `uncacheable` names why it may not be stored, if so."""

    key: str
    uncacheable: str | None = None
    extra_digest: str = ""
    """A digest of fields that are sent upstream but are not part of the key, such as `user`."""


_OPTIONAL = (
    "size quality background moderation style input_fidelity output_format output_compression "
    "response_format user safety_identifier stream partial_images"
)


@dataclass(frozen=True, slots=True)
class AdapterFacts:
    """What the API of an upstream documents.

    `defaults` has the value that each optional field has if it is absent, or "" if none is
    documented. An empty field of `defaults` is the same as an absent one.
    """

    defaults: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType({"n": "1", **dict.fromkeys(_OPTIONAL.split(), "")})
    )


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the upstream's catalogue and the settings say of one model; None is unknown."""

    id: str
    edit_supported: bool | None = None
    max_reference_images: int | None = None
    max_n: int | None = None
