"""The content address of an edit: equal for every encoding of the same edit, else different.

What is hashed is a list of texts, each with its length before it, so that no two different
lists give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from gateway.model import Edit, Fingerprint, Upload
from gateway.rules.fields import (
    MASK,
    NOT_OF_THE_PICTURE,
    canonical,
    is_picture,
    prompt_of,
)

VERSION = "v1"

GENERATIONS_OFF = "generations-not-cached"
"""Why a generation may not be stored: asking twice usually means wanting two."""

_SAID_BY_NAME = NOT_OF_THE_PICTURE | {"model", "prompt"}


def fingerprint(
    edit: Edit,
    *,
    scope: str,
    upstream: str,
    variant: str,
    digest: Callable[[bytes], str],
    cache_generations: bool = True,
) -> Fingerprint:
    """The fingerprint of `edit` among those who may share its result.

    `scope` names who shares (an account's id), `upstream` the configured upstream, `variant`
    is the request's X-Gateway-Variant or empty. `digest` gives a hash as hex text.
    """
    key = f"{VERSION}-{digest(canonical_bytes(edit, scope, upstream, variant))}"
    stored = edit.route == "edits" or cache_generations
    return Fingerprint(key, None if stored else GENERATIONS_OFF)


def canonical_bytes(edit: Edit, scope: str, upstream: str, variant: str) -> bytes:
    """What is hashed: sections of texts, every section and text with its length before it."""
    sections: tuple[Sequence[str], ...] = (
        (VERSION, scope, upstream, edit.route, edit.model, prompt_of(edit), variant),
        tuple(_references(edit.references)),
        tuple(u.digest for u in edit.uploads if u.field == MASK),
        tuple(_other_fields(edit.fields)),
        tuple(_other_files(edit.uploads)),
    )
    return b"".join(_framed(section) for section in sections)


def _framed(texts: Sequence[str]) -> bytes:
    pieces = [len(texts).to_bytes(8, "big")]
    for text in texts:
        data = text.encode("utf-8")
        pieces += (len(data).to_bytes(8, "big"), data)
    return b"".join(pieces)


def _references(uploads: Iterable[Upload]) -> Iterator[str]:
    """Digests in order, each with its place where the client's own name says another one.

    `image`, `image[]` and `image[0]` first are the same; `image[1]` before `image[0]` is not
    the same as `image[]` twice, for an upstream may put them in the order of their numbers.
    """
    for place, upload in enumerate(uploads):
        usual = upload.field in {"image", "image[]", f"image[{place}]"}
        yield "" if usual else upload.field
        yield upload.digest


def _other_fields(fields: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Names and values by name; values of a repeated name stay in their order."""
    others = ((name, text) for name, text in fields if name not in _SAID_BY_NAME)
    for name, text in sorted(others, key=lambda field: field[0]):
        yield name
        yield canonical(name, text)


def _other_files(uploads: Iterable[Upload]) -> Iterator[str]:
    others = (u for u in uploads if not is_picture(u.field))
    for upload in sorted(others, key=lambda u: u.field):
        yield upload.field
        yield upload.digest
