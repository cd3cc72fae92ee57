"""What a request may send: size limits, and the checks that need only its headers."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.model.edit import Edit, Route
from gateway.model.errors import Refusal
from gateway.uploads.rules.picture_sniffer import PictureFormat
from gateway.wire.request_fields import is_picture

_CONTENT_TYPES = {
    "edits": ("multipart/form-data", "application/json"),
    "generations": ("application/json", "multipart/form-data"),
}


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """The size limits of a request. The defaults are those of `config/gateway.toml`."""

    max_body_bytes: int = 300_000_000
    max_image_bytes: int = 50_000_000
    max_pixels: int = 268_435_456
    """Width times height as the picture's header states them: against decompression bombs."""
    max_parts: int = 64
    max_fields: int = 64
    max_field_bytes: int = 262_144
    max_name_bytes: int = 256
    max_header_bytes: int = 8_192
    """All the header lines of one multipart part."""
    max_document_bytes: int = 1_048_576
    """A JSON request without the pictures inside it."""
    max_document_members: int = 50_000
    max_data_url_chars: int = 20_971_520
    picture_formats: tuple[PictureFormat, ...] = ("png", "jpeg", "webp")

    @property
    def formats_text(self) -> str:
        """`PNG, JPEG or WEBP`."""
        *first, last = (name.upper() for name in self.picture_formats)
        return f"{', '.join(first)} or {last}" if first else last


def check_formats(edit: Edit, formats: tuple[PictureFormat, ...]) -> None:
    """Raises `invalid_image` for a picture in a format that the model's upstream does not take."""
    for upload in edit.uploads:
        kind = upload.media_type.removeprefix("image/")
        if is_picture(upload.field) and kind not in formats:
            limits = UploadLimits(picture_formats=formats)
            raise Refusal(
                "invalid_image",
                f"The upstream of this model does not take {kind.upper()}. Send "
                f"{limits.formats_text}, or choose another model.",
                param=upload.field,
            )


def check_content_type(route: Route, content_type: str) -> None:
    """Raises `unsupported_media_type` unless the type is multipart or JSON."""
    kind = content_type.partition(";")[0].strip().lower()
    accepted = _CONTENT_TYPES[route]
    if kind not in accepted:
        raise Refusal(
            "unsupported_media_type",
            f"Content-Type is {kind or 'missing'}; send {' or '.join(accepted)} "
            "(SDKs and curl -F do so by themselves).",
        )


def check_content_encoding(content_encoding: str) -> None:
    """Raises `unsupported_media_type` for a compressed body."""
    if content_encoding.strip().lower() not in {"", "identity"}:
        raise Refusal(
            "unsupported_media_type",
            "The body has a Content-Encoding; send it uncompressed: pictures are compressed "
            "already.",
        )


def check_declared_size(content_length: str, max_body_bytes: int) -> None:
    """Raises `body_too_large` if Content-Length exceeds the limit."""
    if re.fullmatch(r"\d{1,20}", content_length) and int(content_length) > max_body_bytes:
        raise body_too_large(max_body_bytes)


def body_too_large(max_body_bytes: int) -> Refusal:
    """The refusal of a body over the limit."""
    return Refusal(
        "body_too_large",
        f"The body is larger than the limit of {max_body_bytes} bytes; "
        "send fewer or smaller images.",
        facts={"limit": max_body_bytes},
    )
