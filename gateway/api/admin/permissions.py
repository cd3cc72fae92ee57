"""Who may do what: one table, a row for every route of `/admin/v1`, a column for every role."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from gateway.accounts.tables.tokens import ADMIN, FINANCE, TokenRecord
from gateway.model.errors import Refusal


class Reach(Enum):
    """How far a role reaches through one route."""

    NONE = "not at all"
    OWN = "its own team's alone"
    ALL = "everybody's"


class Role(Enum):
    """The columns of the table; the root token is an admin."""

    ADMIN = "admin"
    FINANCE = "finance"
    TEAM = "team"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the token that was sent; `team` where its role is a team's."""

    actor: str
    role: Role
    team: str | None = None


ROOT = Holder("root", Role.ADMIN)

_NONE, _OWN, _ALL = Reach.NONE, Reach.OWN, Reach.ALL

# fmt: off
_TABLE: Mapping[str, tuple[Reach, Reach, Reach]] = MappingProxyType({
    #                              admin  finance team
    "GET /organisation":           (_ALL, _ALL,  _NONE),
    "PATCH /organisation":         (_ALL, _NONE, _NONE),
    "GET /teams":                  (_ALL, _ALL,  _NONE),
    "POST /teams":                 (_ALL, _NONE, _NONE),
    "GET /teams/{name}":           (_ALL, _ALL,  _OWN),
    "PATCH /teams/{name}":         (_ALL, _NONE, _NONE),
    "DELETE /teams/{name}":        (_ALL, _NONE, _NONE),
    "GET /keys":                   (_ALL, _ALL,  _OWN),
    "POST /keys":                  (_ALL, _NONE, _OWN),
    "GET /keys/{id}":              (_ALL, _ALL,  _OWN),
    "PATCH /keys/{id}":            (_ALL, _NONE, _OWN),
    "DELETE /keys/{id}":           (_ALL, _NONE, _OWN),
    "POST /keys/{id}/rotate":      (_ALL, _NONE, _OWN),
    "GET /tokens":                 (_ALL, _ALL,  _NONE),
    "POST /tokens":                (_ALL, _NONE, _NONE),
    "DELETE /tokens/{id}":         (_ALL, _NONE, _NONE),
    "POST /pause":                 (_ALL, _NONE, _NONE),
    "POST /resume":                (_ALL, _NONE, _NONE),
    "GET /audit":                  (_ALL, _ALL,  _NONE),
    "GET /usage":                  (_ALL, _ALL,  _OWN),
    "GET /ledger":                 (_ALL, _ALL,  _OWN),
    "GET /ledger/verify":          (_ALL, _ALL,  _NONE),
    "GET /ledger/unresolved":      (_ALL, _ALL,  _NONE),
    "GET /ledger/closings":        (_ALL, _ALL,  _NONE),
    "POST /ledger/resolve":        (_ALL, _NONE, _NONE),
    "POST /ledger/corrections":    (_ALL, _ALL,  _NONE),
    "GET /cache":                  (_ALL, _ALL,  _OWN),
    "POST /cache/purge":           (_ALL, _NONE, _OWN),
    "POST /cache/verify":          (_ALL, _NONE, _NONE),
})
# fmt: on

ACCESS: Mapping[str, Mapping[Role, Reach]] = MappingProxyType(
    {route: MappingProxyType(dict(zip(Role, row, strict=True))) for route, row in _TABLE.items()}
)


def holder_of(token: TokenRecord) -> Holder | None:
    """Who holds a named token; None where its role is none that is known here."""
    actor = f"token:{token.name}"
    if token.team is not None:
        return Holder(actor, Role.TEAM, token.team)
    roles = {ADMIN: Role.ADMIN, FINANCE: Role.FINANCE}
    return Holder(actor, roles[token.role]) if token.role in roles else None


def confinement(route: str, holder: Holder) -> str | None:
    """The team that the holder is confined to on this route; None where it reaches all.

    Raises `permission_denied`, also for a route that has no row.
    """
    reach = ACCESS[route][holder.role] if route in ACCESS else Reach.NONE
    if reach is Reach.NONE or (reach is Reach.OWN and holder.team is None):
        method, _, path = route.partition(" ")
        raise Refusal(
            "permission_denied",
            f"A token with the role {role_text(holder)} may not {method} /admin/v1{path}; ask for "
            "one that may.",
        )
    return holder.team if reach is Reach.OWN else None


def role_text(holder: Holder) -> str:
    """A role as tokens are given it."""
    return holder.role.value if holder.team is None else f"team:{holder.team}"


def check_own(confined_to: str | None, team: str) -> None:
    """Raises `permission_denied` where a token confined to a team asks about another."""
    if confined_to is not None and team != confined_to:
        raise Refusal(
            "permission_denied",
            f"This token is for the team {confined_to!r} alone.",
            param="team",
        )
