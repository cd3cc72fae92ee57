"""Who looks at a page: the holder of a session, and what they may."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from gateway.accounts.credentials import hash_secret
from gateway.api.admin.routes import ROUTES
from gateway.api.admin.token_holder import TokenHolder
from gateway.model.caller import Caller


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who has signed in; `caller` is set where that was with a key, and for a team's member."""

    holder: TokenHolder
    name: str
    caller: Caller | None = None

    def may(self, route: str) -> bool:
        """May the visitor use this route of `/admin/v1`?"""
        return self.holder.role in ROUTES[route].roles


@dataclass(frozen=True, slots=True)
class Visit:
    """A browser's cookie, and its visitor once signed in. Forms prove by `csrf` whose they are.

    `is_person`: of single sign-on; without a visitor, the provider is to be asked again.
    """

    cookie: str
    visitor: Visitor | None = None
    is_person: bool = False

    @property
    def csrf(self) -> str:
        return hash_secret(f"csrf {self.cookie}")

    def proof_of(self, address: str) -> str:
        """What proves that a page which this visitor may see has led to this address."""
        return hash_secret(f"proof {self.cookie} {address}")

    def proves(self, proof: str, address: str) -> bool:
        return hmac.compare_digest(proof.encode(), self.proof_of(address).encode())

    def owns(self, csrf: str) -> bool:
        """Was a form with this proof made for this browser?"""
        return hmac.compare_digest(csrf.encode(), self.csrf.encode())
