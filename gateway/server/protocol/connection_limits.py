"""Limits of what a client may do to a connection, and for how long."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

Networks = Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]


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
    max_connections_per_address: int = 1000
    """Per process; an IPv6 /64 network is one address."""
    answer_seconds: float = 60.0
    """How long a client may accept no byte of its answer."""
    max_unsent_bytes: int = 256 * 2**20
    """Bytes of answers that clients have not accepted, per process; a quarter of it per key."""


def share_of(address: str) -> str:
    """What is counted as one address: an IPv4 address, or an IPv6 network of 64 bits."""
    if ":" not in address:
        return address
    network = ipaddress.ip_network((address.partition("%")[0], 64), strict=False)
    return str(network)


def contains(networks: Networks, address: str) -> bool:
    """True if the address is in one of the networks."""
    found = ipaddress.ip_address(address.partition("%")[0])
    return any(found in network for network in networks)
