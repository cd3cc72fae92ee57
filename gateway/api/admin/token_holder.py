"""Who holds a token, and which routes and teams it may reach.

The table of routes names the roles that may use each; a team's token is confined to its team.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

from gateway.accounts.tables.tokens import ADMIN, FINANCE, TokenRecord
from gateway.model.errors import Refusal


class Role(Enum):
    """The role of a token; the root token is an admin. A member only has a key of its team."""

    ADMIN = "admin"
    FINANCE = "finance"
    TEAM = "team"
    MEMBER = "member"


@dataclass(frozen=True, slots=True)
class TokenHolder:
    """The holder of a token; `team` is set for the roles of a team only.

    A member of the console is confined to the requests of one key, there perhaps of one end user.
    """

    actor: str
    role: Role
    team: str | None = None
    key_id: str = ""
    end_user: str = ""


ROOT = TokenHolder("root", Role.ADMIN)


def holder_of(token: TokenRecord) -> TokenHolder | None:
    """The holder of a named token; None for a role that this version does not know."""
    actor = f"token:{token.name}"
    if token.team is not None:
        return TokenHolder(actor, Role.TEAM, token.team)
    roles = {ADMIN: Role.ADMIN, FINANCE: Role.FINANCE}
    return TokenHolder(actor, roles[token.role]) if token.role in roles else None


def check_role(holder: TokenHolder, roles: Collection[Role], route: str) -> None:
    """Raises `permission_denied` where the holder's role is not among those of the route."""
    if holder.role in roles:
        return
    role = holder.role.value if holder.team is None else f"{holder.role.value}:{holder.team}"
    method, _, path = route.partition(" ")
    raise Refusal(
        "permission_denied",
        f"A token with the role {role} may not {method} /admin/v1{path}; ask for one that may.",
    )


def check_own(own: str | None, team: str) -> None:
    """Raises `permission_denied` where a token of the team `own` asks about another team."""
    if own is not None and team != own:
        raise Refusal("permission_denied", f"This token is for the team {own!r} only.", "team")


def team_of(own: str | None, asked: str | None) -> str | None:
    """The team that a request is about: the one it names, else the token's; None is all teams."""
    team = own if asked is None else asked
    if team is not None:
        check_own(own, team)
    return team
