"""The facts of a stored result."""

from __future__ import annotations

from dataclasses import dataclass


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
