"""Limits of what a client may do to a connection, and for how long."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """The size limits of a head, the time limits of a slow client, the number of connections."""

    max_header_lines: int = 100
    max_header_bytes: int = 64 * 2**10
    """The request line and all headers."""
    header_seconds: float = 15.0
    """From connecting, or from the first byte of a further request, to the end of its head."""
    max_connections: int = 2000
    """Per process."""
    answer_seconds: float = 60.0
    """How long a client may accept no byte of its answer."""
