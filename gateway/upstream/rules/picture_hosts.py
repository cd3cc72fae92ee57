"""From where a picture that an upstream gives as a URL may be fetched: `[upstream] picture_hosts`.

An entry is a host (`images.example`: over https, at a public address only) or a whole origin
(`http://127.0.0.1:9000`: exactly that, wherever it leads).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

_HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*")
_VISIBLE = re.compile(r"[!-~]*")
_PORTS = {"https": 443, "http": 80}
_LONGEST_URL = 8_192
_SHOWN_CHARS = 200
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class PictureHosts:
    """The entries of the setting."""

    hosts: frozenset[str]
    origins: frozenset[str]

    def check(self, url: str) -> bool:
        """May this URL be fetched? True if its address must be public, False if any will do.

        Raises ValueError, which says why not.
        """
        if len(url) > _LONGEST_URL or not _VISIBLE.fullmatch(url):
            raise ValueError("its URL is too long or has characters that a URL can't hold")
        try:
            parts = urlsplit(url)
            origin, host = _origin(parts), parts.hostname or ""
        except ValueError:
            raise ValueError("its URL can't be read") from None
        if parts.username is not None or parts.password is not None:
            raise ValueError("its URL has a user or a password")
        if origin in self.origins:
            return False
        if host in self.hosts and origin == f"https://{host}:443":
            return True
        origin = origin.removesuffix(":443")[:_SHOWN_CHARS]
        raise ValueError(f"{origin} is not in picture_hosts")


def parse_hosts(entries: Sequence[str]) -> PictureHosts:
    """The setting's entries. Raises ValueError, which names the entry."""
    hosts, origins = set[str](), set[str]()
    for entry in entries:
        text = entry.strip().lower()
        parts = urlsplit(text)
        if _HOST.fullmatch(text) and not _is_address(text):
            hosts.add(text)
        elif (
            parts.scheme in _PORTS and parts.hostname and text == f"{parts.scheme}://{parts.netloc}"
        ):
            origins.add(_origin(parts))
        else:
            raise ValueError(
                f"{entry!r} is neither a host such as images.example nor an origin such as "
                "http://127.0.0.1:9000"
            )
    return PictureHosts(frozenset(hosts), frozenset(origins))


def is_public(address: str) -> bool:
    """Is it an address of the public internet? An address that embeds another is judged by it."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo and ip.teredo[1])
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(ip.packed[-4:])
        if inner:
            return is_public(str(inner))
        if ip.is_site_local:
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved)


def _origin(parts: SplitResult) -> str:
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}:{parts.port or _PORTS.get(parts.scheme, 0)}"


def _is_address(text: str) -> bool:
    """Anything that a resolver may take for an IPv4 address, `127.1` and `0x7f000001` too."""
    last = text.rpartition(".")[2]
    return last.isdigit() or last.startswith("0x")
