"""What the head of a request alone decides, before a byte of its body is read."""

from __future__ import annotations

import re

from gateway.model.edit import Route
from gateway.model.errors import Refusal

_ACCEPTED = {
    "edits": ("multipart/form-data", "application/json"),
    "generations": ("application/json", "multipart/form-data"),
}


def check_content_type(route: Route, content_type: str) -> None:
    """Raises `unsupported_media_type` for what is neither multipart nor JSON."""
    kind = content_type.partition(";")[0].strip().lower()
    accepted = _ACCEPTED[route]
    if kind not in accepted:
        raise Refusal(
            "unsupported_media_type",
            f"Content-Type is {kind or 'missing'}; send {' or '.join(accepted)} "
            "(SDKs and curl -F do so by themselves).",
        )


def check_content_encoding(content_encoding: str) -> None:
    """Raises `unsupported_media_type` for a body that is compressed as a whole."""
    if content_encoding.strip().lower() not in {"", "identity"}:
        raise Refusal(
            "unsupported_media_type",
            "The body has a Content-Encoding; send it as it is: pictures are compressed already.",
        )


def check_declared_size(content_length: str, max_body_bytes: int) -> None:
    """Raises `body_too_large` where the request itself says that it is."""
    if re.fullmatch(r"\d{1,20}", content_length) and int(content_length) > max_body_bytes:
        raise too_large(max_body_bytes)


def too_large(max_body_bytes: int) -> Refusal:
    """The refusal of a body beyond the bound, declared or not."""
    return Refusal(
        "body_too_large",
        f"The body is larger than {max_body_bytes} bytes, which is the most that is taken; "
        "send fewer or smaller images.",
        facts={"limit": max_body_bytes},
    )
