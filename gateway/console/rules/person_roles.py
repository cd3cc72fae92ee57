"""Single sign-on: what the provider says of a person, and what they may therefore do here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.accounts.rules.field_types import is_text
from gateway.api.admin.token_holder import Role, TokenHolder

_LONGEST_NAME = 128


@dataclass(frozen=True, slots=True)
class Person:
    """A person whom the provider has signed in. `groups` are the values of `[sso] roles_claim`."""

    name: str
    groups: Sequence[str]

    @property
    def actor(self) -> str:
        return f"person:{self.name}"


def person_of(claims: Mapping[str, Any], name_claim: str, roles_claim: str) -> Person:
    """The person of an ID token. An e-mail address that is not verified is no name."""
    name = claims.get(name_claim)
    if name_claim == "email" and claims.get("email_verified") is False:
        name = None
    if not isinstance(name, str) or not name.strip() or not is_text(name):
        name = str(claims["sub"])
    given = claims.get(roles_claim, ())
    groups = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    return Person(
        name.strip()[:_LONGEST_NAME], tuple(each for each in groups if isinstance(each, str))
    )


def holder_of_person(person: Person, roles: Mapping[str, str]) -> TokenHolder | None:
    """What the person may, by the first row of `[sso] roles` that matches; None if none does."""
    role = next((role for group, role in roles.items() if group in person.groups), None)
    if role is None:
        return None
    kind, _, team = role.partition(":")
    return TokenHolder(person.actor, Role(kind), team or None)
