"""Mail addresses: which text is one, and who may be mailed."""

from __future__ import annotations

import re
from dataclasses import dataclass

ADDRESS = r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*"
_NAMED = re.compile(rf"[^<>@]*<\s*({ADDRESS})\s*>|({ADDRESS})")
_LONGEST = 254


@dataclass(frozen=True, slots=True)
class MailAddresses:
    """Who is mailed: `to` of the organisation, else owners; nobody outside of `domains`."""

    to: tuple[str, ...]
    domains: frozenset[str]

    def permits(self, address: str) -> bool:
        return bool(address) and domain_of(address) in self.domains

    def of_owner(self, owner: str) -> str:
        """The address in a team's owner if it may be mailed, else ""."""
        address = address_in(owner)
        return address if self.permits(address) else ""

    def of_alert(self, owner: str) -> tuple[str, ...]:
        """The owner of the team if there is one to mail, else the organisation's recipients."""
        address = self.of_owner(owner)
        return (address,) if address else tuple(filter(self.permits, self.to))


def address_in(text: str) -> str:
    """The address of `ada@example.com` or `Ada <ada@example.com>`, or "" where there is none."""
    found = _NAMED.fullmatch(text.strip())
    address = (found[1] or found[2]) if found else ""
    return address if len(address) <= _LONGEST else ""


def domain_of(address: str) -> str:
    return address.rpartition("@")[2].lower()
