"""A form with pictures: the text fields at its beginning are read, the pictures stay on their way.

Browsers send fields in the order of the page, so the text fields of such a form stand first. What
follows is for the pipeline, which reads it like any upload.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

from gateway.console.forms import CSRF, MOST_FORM_BYTES, Form, no_form, storable
from gateway.model.errors import Refusal

OWN_FIELDS = frozenset({CSRF, "team"})
"""What concerns the console alone: these fields are left out of what follows."""
_BOUNDARY = re.compile(rb"--[^\r\n]{1,70}(?=\r\n)")
_TEXT_PART = re.compile(
    rb'\r\nContent-Disposition: form-data; name="([^"\r\n]{1,64})"\r\n\r\n', re.I
)


@dataclass(frozen=True, slots=True)
class _Part:
    """A text field, as it was sent."""

    name: str
    value: str
    raw: bytes


async def read_picture_form(chunks: AsyncIterator[bytes]) -> tuple[Form, AsyncIterator[bytes]]:
    """The text fields, and the body without OWN_FIELDS.

    Raises `body_too_large`, `invalid_field`.
    """
    body, tried_bytes = bytearray(), 0
    async for chunk in chunks:
        body += chunk
        if len(body) >= 2 * tried_bytes:  # so that tiny chunks cost no more than large ones
            tried_bytes = len(body)
            if found := _text_parts(bytes(body), ended=False):
                break
        if len(body) > 2 * MOST_FORM_BYTES:
            raise Refusal(
                "body_too_large", f"The text of a form has at most {MOST_FORM_BYTES:,} bytes."
            )
    else:
        found = _text_parts(bytes(body), ended=True)
    if found is None:
        raise no_form()
    parts, end = found
    kept = b"".join(part.raw for part in parts if part.name not in OWN_FIELDS)

    async def remaining() -> AsyncIterator[bytes]:
        yield kept + bytes(body[end:])
        async for chunk in chunks:
            yield chunk

    return Form(storable({part.name: part.value for part in parts})), remaining()


def _text_parts(body: bytes, *, ended: bool) -> tuple[list[_Part], int] | None:
    """The text fields that the body begins with, and where they end; None while that is open."""
    boundary = _BOUNDARY.match(body)
    if not boundary:
        return None
    parts, at = [], 0
    while text := _TEXT_PART.match(body, at + len(boundary[0])):
        end = body.find(b"\r\n" + boundary[0], text.end())
        if end < 0:
            return None
        name, value = text[1].decode("utf-8", "replace"), body[text.end() : end]
        parts.append(_Part(name, value.decode("utf-8", "replace"), body[at : end + 2]))
        at = end + 2
    is_open = not ended and body.find(b"\r\n\r\n", at) < 0
    return None if is_open else (parts, at)
