"""The routes of `/admin/v1`: what answers each, and the query parameters that it takes.

Who may use them is in `access`. A `Route` is one transaction: a read for GET, else a write with
its row of the audit. A `CacheRoute` is about the results, which lie outside the state.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gateway.api.admin import accounts, keys, ledger, pagination, tokens
from gateway.api.admin.cache import CacheHandlers
from gateway.api.admin.request_input import AdminRequest
from gateway.database.database import Transaction
from gateway.queries.serializers import Facts

Handler = Callable[[Transaction, AdminRequest], Awaitable[Facts]]
"""Answers with what is shown. Raises Refusal, AccountError."""


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path; `status` is that of success."""

    handler: Handler
    query: tuple[str, ...] = ()
    status: int = 200


@dataclass(frozen=True, slots=True)
class CacheRoute:
    """The same, answered by what keeps the results."""

    handler: Callable[[CacheHandlers, AdminRequest], Awaitable[Facts]]
    query: tuple[str, ...] = ()
    status: int = 200


_PAGES = pagination.NAMES
_DAYS = ("from", "to", "team")
_WHY = ("reason",)
"""A DELETE seldom has a body, so its reason may stand in the query."""

# fmt: off
ROUTES: Mapping[str, Route | CacheRoute] = MappingProxyType({
    "GET /organisation":        Route(accounts.show_organisation),
    "PATCH /organisation":      Route(accounts.update_organisation),
    "GET /teams":               Route(accounts.list_teams, (*_PAGES, "archived")),
    "POST /teams":              Route(accounts.create_team, status=201),
    "GET /teams/{name}":        Route(accounts.show_team),
    "PATCH /teams/{name}":      Route(accounts.update_team),
    "DELETE /teams/{name}":     Route(accounts.archive_team, _WHY),
    "GET /keys":                Route(keys.list_keys, (*_PAGES, "team", "revoked")),
    "POST /keys":               Route(keys.create_key, status=201),
    "GET /keys/{id}":           Route(keys.show_key),
    "PATCH /keys/{id}":         Route(keys.update_key),
    "DELETE /keys/{id}":        Route(keys.revoke_key, _WHY),
    "POST /keys/{id}/rotate":   Route(keys.rotate_key),
    "GET /tokens":              Route(tokens.list_tokens, (*_PAGES, "revoked")),
    "POST /tokens":             Route(tokens.create_token, status=201),
    "DELETE /tokens/{id}":      Route(tokens.revoke_token, _WHY),
    "POST /pause":              Route(accounts.pause),
    "POST /resume":             Route(accounts.resume),
    "GET /audit":               Route(tokens.list_audit, (*_PAGES, "since", "subject")),
    "GET /usage":               Route(ledger.usage, (*_DAYS, "by")),
    "GET /ledger":              Route(ledger.ledger, (*_DAYS, *_PAGES)),
    "GET /ledger/verify":       Route(ledger.verify),
    "GET /ledger/unresolved":   Route(ledger.unresolved, _PAGES),
    "GET /ledger/closings":     Route(ledger.closings, _PAGES),
    "POST /ledger/resolve":     Route(ledger.resolve),
    "POST /ledger/corrections": Route(ledger.correct),
    "GET /cache":               CacheRoute(CacheHandlers.stats, ("team",)),
    "POST /cache/purge":        CacheRoute(CacheHandlers.purge),
    "POST /cache/verify":       CacheRoute(CacheHandlers.verify),
})
# fmt: on


def _by_path() -> Mapping[str, tuple[str, ...]]:
    methods: dict[str, tuple[str, ...]] = {}
    for route in ROUTES:
        method, path = route.split()
        methods[path] = (*methods.get(path, ()), method)
    return MappingProxyType(methods)


PATHS = _by_path()
"""Every path below `/admin/v1`, with the methods that it takes."""
