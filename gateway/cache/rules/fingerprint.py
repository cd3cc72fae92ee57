"""The content address of an edit: equal for every encoding of the same edit, else different.

What is hashed is what will be sent upstream, in the form in which it is sent, less the fields
that can't change a picture. It is a list of texts, each with its length before it, so that no
two different lists give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from gateway.model.edit import Edit, Fingerprint, Upload
from gateway.wire.json_cutter import compact, plain_parse
from gateway.wire.multipart_writer import outgoing_fields, outgoing_uploads
from gateway.wire.request_fields import NOT_OF_THE_PICTURE, prompt_of

VERSION = "v1"

GENERATIONS_OFF = "generations-not-cached"
"""Why a generation may not be stored: asking twice usually means wanting two."""

Fields = tuple[tuple[str, str], ...]


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
    sent = _sent(edit)
    key = f"{VERSION}-{digest(_canonical_bytes(edit, sent, scope, upstream, variant))}"
    beside = tuple(_texts(field for field in sent if field[0] in NOT_OF_THE_PICTURE))
    stored = edit.route == "edits" or cache_generations
    return Fingerprint(
        key,
        uncacheable=None if stored else GENERATIONS_OFF,
        extra_digest=digest(_framed(beside)) if beside else "",
    )


def canonical_bytes(edit: Edit, scope: str, upstream: str, variant: str) -> bytes:
    """What is hashed: sections of texts, every section and text with its length before it."""
    return _canonical_bytes(edit, _sent(edit), scope, upstream, variant)


def _canonical_bytes(edit: Edit, sent: Fields, scope: str, upstream: str, variant: str) -> bytes:
    encoding = "json" if edit.document else "form"
    head = (VERSION, scope, upstream, edit.route, encoding, edit.model, prompt_of(edit), variant)
    sections: tuple[Sequence[str], ...] = (
        head,
        tuple(_texts(field for field in sent if field[0] not in NOT_OF_THE_PICTURE)),
        tuple(_files(outgoing_uploads(edit))),
    )
    return b"".join(_framed(section) for section in sections)


def _sent(edit: Edit) -> Fields:
    """Names and values as they go upstream; those of a JSON document as JSON, types and all."""
    if not edit.document:
        return outgoing_fields(edit)
    members = plain_parse(edit.document)
    return tuple((name, compact(members[name])) for name in sorted(members))


def _framed(texts: Sequence[str]) -> bytes:
    pieces = [len(texts).to_bytes(8, "big")]
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        pieces += (len(data).to_bytes(8, "big"), data)
    return b"".join(pieces)


def _texts(fields: Iterable[tuple[str, str]]) -> Iterator[str]:
    for name, text in fields:
        yield name
        yield text


def _files(uploads: Iterable[Upload]) -> Iterator[str]:
    for upload in uploads:
        yield upload.field
        yield upload.digest
