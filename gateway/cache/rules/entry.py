"""Entries as text beside their bodies, and when one may be served.

Whatever can't be read back exactly is `DamagedEntry`: the caller deletes it and has a miss.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

FORMAT = 1
MAGIC = b"IEG1"
"""An object's first bytes: the magic, the header's length, the header, the body."""
_LENGTH_BYTES = 4
_INPUTS = "v0-"
"""No fingerprint begins so; it is a key like any other to stores, and to links."""
MAX_HEADER_BYTES = 65_536

_TEXTS = (
    "key",
    "team",
    "key_id",
    "model",
    "body_digest",
    "content_type",
    "request_id",
    "upstream_request_id",
)
_NUMBERS = ("created_ms", "expires_ms", "body_bytes", "status")


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored result's facts; its body lies beside it."""

    key: str
    team: str
    key_id: str
    model: str
    cost_nanos: int | None
    created_ms: int
    expires_ms: int
    body_digest: str
    body_bytes: int
    content_type: str
    request_id: str
    upstream_request_id: str
    references: tuple[str, ...] = ()
    """Digests of the reference images, so that results can be found by a picture."""
    status: int = 200
    upstream: str = ""
    """The name of the upstream that made it; empty for a result of an earlier version."""


class DamagedEntry(ValueError):
    """A stored entry that can't be read back."""


def inputs_key(key: str) -> str:
    """The key of what is kept of the inputs of a result, beside it."""
    return f"{_INPUTS}{sha256(key.encode()).hexdigest()}"


def with_inputs(key: str) -> tuple[str, str]:
    """The keys of a result, and of its inputs."""
    return key, inputs_key(key)


def is_inputs(key: str) -> bool:
    """Is it such a key, and not that of a result?"""
    return key.startswith(_INPUTS)


def encode(entry: Entry) -> str:
    """An entry as one line of JSON, ASCII only."""
    facts: dict[str, object] = {name: getattr(entry, name) for name in _TEXTS + _NUMBERS}
    facts["cost_nanos"] = entry.cost_nanos
    facts["references"] = entry.references
    facts["upstream"] = entry.upstream
    return json.dumps({"format": FORMAT, **facts}, separators=(",", ":"))


def decode(text: object) -> Entry:
    """The entry of a text that `encode` made. Raises DamagedEntry.

    Fields that are unknown here are passed over: a newer gateway may share the store.
    """
    facts = _facts(text)
    if facts.get("format") != FORMAT:
        raise DamagedEntry(f"format {facts.get('format')!r} is not {FORMAT}")
    values: dict[str, Any] = {name: _text(facts, name) for name in _TEXTS}
    values.update((name, _number(facts, name)) for name in _NUMBERS)
    known = facts.get("cost_nanos") is not None
    values["cost_nanos"] = _number(facts, "cost_nanos") if known else None
    values["upstream"] = _text({"upstream": "", **facts}, "upstream")
    return Entry(**values, references=_text_list(facts, "references"))


def pack_head(entry: Entry) -> bytes:
    """What stands before the body where entry and body are one object."""
    header = encode(entry).encode("ascii")
    return MAGIC + len(header).to_bytes(_LENGTH_BYTES, "big") + header


def body_offset(start: bytes) -> int:
    """Where an object's body begins, by the object's first 8 bytes. Raises DamagedEntry."""
    lead = len(MAGIC) + _LENGTH_BYTES
    header_bytes = int.from_bytes(start[len(MAGIC) : lead], "big")
    if len(start) < lead or not start.startswith(MAGIC) or header_bytes > MAX_HEADER_BYTES:
        raise DamagedEntry("it does not begin as an entry does")
    return lead + header_bytes


def unpack_head(start: bytes) -> Entry:
    """The entry of an object that begins with `start`, its whole head at least."""
    offset = body_offset(start)
    if len(start) < offset:
        raise DamagedEntry("its head is cut short")
    return decode(start[len(MAGIC) + _LENGTH_BYTES : offset])


def may_serve(entry: Entry, now_ms: int, max_age_seconds: int | None = None) -> bool:
    """May an entry answer now, and a client that takes none older than `max_age_seconds`?

    0 seconds take nothing stored at all, as in HTTP.
    """
    if now_ms >= entry.expires_ms:
        return False
    return max_age_seconds is None or max(0, now_ms - entry.created_ms) < max_age_seconds * 1000


def _facts(text: object) -> dict[str, Any]:
    if not isinstance(text, str | bytes):
        raise DamagedEntry("the header is no text")
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedEntry("the header is no JSON") from error
    if not isinstance(facts, dict):
        raise DamagedEntry("the header is no object")
    return facts


def _text(facts: dict[str, Any], name: str) -> str:
    value = facts.get(name)
    if not isinstance(value, str):
        raise DamagedEntry(f"{name} is no text")
    return value


def _number(facts: dict[str, Any], name: str) -> int:
    value = facts.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise DamagedEntry(f"{name} is no whole number")
    return value


def _text_list(facts: dict[str, Any], name: str) -> tuple[str, ...]:
    values = facts.get(name)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise DamagedEntry(f"{name} is no list of texts")
    return tuple(values)
