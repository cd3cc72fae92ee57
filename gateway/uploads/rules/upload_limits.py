"""How much of a request is read: every bound in one place, none of them None."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """What a request may hold. The defaults are those of `config/gateway.toml`."""

    max_body_bytes: int = 300_000_000
    max_image_bytes: int = 50_000_000
    max_pixels: int = 268_435_456
    """Width times height as the picture's header says: against decompression bombs."""
    max_parts: int = 64
    max_fields: int = 64
    max_field_bytes: int = 262_144
    max_name_bytes: int = 256
    max_header_bytes: int = 8_192
    """All the header lines of one multipart part."""
    max_document_bytes: int = 1_048_576
    """A JSON request, less the pictures inside it."""
    max_document_members: int = 50_000
    max_data_url_chars: int = 20_971_520
