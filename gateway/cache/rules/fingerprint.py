"""The fingerprint of an edit: equal for every encoding of the same edit, else different.

What is hashed is what goes upstream, less the fields that can't change the picture. It is a list
of texts, each with its length before it, so that no two lists give the same bytes.

Version 2 replaced version 1, whose results are still found: see `previous_keys`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from gateway.model.edit import AdapterFacts, Edit, Fingerprint, Upload
from gateway.wire.json_cutter import compact, plain_parse
from gateway.wire.multipart_writer import outgoing_fields, outgoing_members, outgoing_uploads
from gateway.wire.request_fields import (
    BOOLEANS,
    MASK,
    NUMBERS,
    TEXTS,
    canonical,
    root_of,
    value_of,
    with_lf,
)

GENERATIONS_OFF = "generations-not-cached"
"""Why a generation may not be stored: asking twice usually means wanting two."""

_BESIDE = frozenset({"user", "safety_identifier", "stream", "partial_images"})
"""Fields that cannot change the picture."""

Digest = Callable[[bytes], str]
Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Sharing:
    """What a fingerprint covers besides the edit.

    `scope` is the account whose keys share the result, `upstream` the name of the upstream,
    `variant` the request's X-Gateway-Variant or empty.
    """

    scope: str
    upstream: str
    variant: str = ""


def fingerprint(
    edit: Edit,
    sharing: Sharing,
    *,
    digest: Digest,
    facts: AdapterFacts,
    cache_generations: bool = True,
) -> Fingerprint:
    """The fingerprint of `edit`. `digest` gives a hash as hex text."""
    sent = _sent(edit, facts)
    beside = tuple(_texts(field for field in sent if _is_beside(*field)))
    stored = edit.route == "edits" or cache_generations
    return Fingerprint(
        f"v2-{digest(_canonical_bytes(edit, sent, sharing, facts))}",
        uncacheable=None if stored else GENERATIONS_OFF,
        extra_digest=digest(_framed(beside)) if beside else "",
    )


def _canonical_bytes(edit: Edit, sent: Fields, sharing: Sharing, facts: AdapterFacts) -> bytes:
    uploads = outgoing_uploads(edit)
    others = (
        (name, text)
        for name, text in sent
        if name not in TEXTS
        and not _is_beside(name, text)
        and not _is_default(name, text, edit, facts)
    )
    sections: tuple[Iterable[str], ...] = (
        ("v2", sharing.scope, sharing.upstream, edit.model, edit.route, _encoding(edit)),
        (canonical("prompt", _prompt(edit)), sharing.variant),
        _files(upload for upload in uploads if upload.field != MASK),
        _files(upload for upload in uploads if upload.field == MASK),
        _texts(others),
    )
    return b"".join(_framed(tuple(section)) for section in sections)


def _is_beside(name: str, text: str) -> bool:
    """True for a field that cannot change the picture.

    `response_format` is one where it asks for bytes, as its default does. An answer of another
    form is never stored, and whoever wants bytes can't join its flight.
    """
    bytes_asked = name == "response_format" and text.strip('"') in ("", "b64_json")
    return bytes_asked or name in _BESIDE


def _sent(edit: Edit, facts: AdapterFacts) -> Fields:
    """Names and values as they go upstream; those of a JSON document as JSON, types and all."""
    if not edit.document:
        return outgoing_fields(edit, facts)
    members = outgoing_members(edit, facts)
    return tuple((name, compact(members[name])) for name in sorted(members))


def _is_default(name: str, text: str, edit: Edit, facts: AdapterFacts) -> bool:
    default = facts.defaults.get(name)
    quoted = edit.document and name not in NUMBERS
    return default is not None and text == (f'"{default}"' if quoted else default)


def _encoding(edit: Edit) -> str:
    return "json" if edit.document else "form"


def _prompt(edit: Edit) -> str:
    return value_of(edit.fields, "prompt") or ""


def previous_keys(edit: Edit, sharing: Sharing, digest: Digest) -> tuple[str, ...]:
    """The keys under which version 1 may have stored this edit, the likeliest first.

    Version 1 hashed the client's line ends: CRLF of some libraries, LF of others.
    """
    lf = tuple((name, with_lf(text)) for name, text in edit.fields)
    crlf = tuple((name, text.replace("\n", "\r\n")) for name, text in lf)
    forms = (edit.fields,) if edit.document else (edit.fields, lf, crlf)
    edits = (replace(edit, fields=fields) for fields in forms)
    return tuple(dict.fromkeys(f"v1-{digest(_v1_bytes(each, sharing))}" for each in edits))


def _v1_bytes(edit: Edit, sharing: Sharing) -> bytes:
    if edit.document:
        members = plain_parse(edit.document)
        sent = [(name, compact(members[name])) for name in sorted(members)]
    else:
        exact = NUMBERS | BOOLEANS
        sent = [(name, canonical(name, t) if name in exact else t) for name, t in edit.fields]
        sent.sort(key=lambda field: root_of(field[0]))
    head = ("v1", sharing.scope, sharing.upstream, edit.route, _encoding(edit), edit.model)
    sections: tuple[Iterable[str], ...] = (
        (*head, _prompt(edit), sharing.variant),
        _texts(field for field in sent if field[0] not in _BESIDE),
        _files(outgoing_uploads(edit)),
    )
    return b"".join(_framed(tuple(section)) for section in sections)


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
