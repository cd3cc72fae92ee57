"""Who the end user of a request is, and under which name they are kept."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from gateway.model.caller import Caller
from gateway.model.errors import Refusal
from gateway.wire.request_fields import value_of

HEADER = "X-Gateway-User"
FIELDS = ("safety_identifier", "user")
"""The fields that name the user, the preferred one first; the header comes before both."""
OTHERS = "(others)"
"""The end users of a team that are not told apart from each other."""
FORGOTTEN = "(forgotten)"
"""The name under which the money of forgotten users stays."""
LONGEST = 128

Keeping = Literal["hashed", "as-sent", "off"]
"""`[accounts] end_users`."""


@dataclass(slots=True)
class Pseudonyms:
    """How the names of end users are kept. `secret` is the state's, known after the start."""

    keeping: Keeping = "hashed"
    secret: bytes = b""

    def of(self, name: str) -> str:
        """The name under which a person is kept; empty where nobody is."""
        if not name or self.keeping == "off":
            return ""
        if self.keeping == "as-sent" and _can_be_shown(name):
            return name
        return self.hashed(name)

    def hashed(self, name: str) -> str:
        digest = hmac.new(self.secret, name.encode("utf-8", "surrogatepass"), sha256)
        return f"user_{digest.hexdigest()[:32]}"


def _can_be_shown(name: str) -> bool:
    """Is it one short line, and none of the ledger's own names, such as "(others)"?"""
    return len(name) <= LONGEST and name.isprintable() and not name.startswith("(")


def sent_name(headers: Mapping[str, str], fields: Iterable[tuple[str, str]]) -> str:
    """The end user whom a request names, as it was sent; empty where it names none."""
    fields = tuple(fields)
    named = (headers.get(HEADER.lower()), *(value_of(fields, name) for name in FIELDS))
    return next((name for each in named if each and (name := each.strip())), "")


def check_named(caller: Caller) -> None:
    """Raises `missing_field` where limits of end users hold and the request names no user."""
    if not caller.end_user and any(a.limits.limit_end_users for a in caller.accounts):
        raise unnamed()


def unnamed() -> Refusal:
    """The refusal of a request that must name its end user."""
    return Refusal(
        "missing_field",
        f"Each end user has a limit here, and the request names none. Send {HEADER}, or the field "
        '`safety_identifier` or `user`. (A gateway with [accounts] end_users = "off" reads none '
        "of them.)",
        param="user",
    )
