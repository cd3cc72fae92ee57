"""The operations of `/admin/v1`, from its tables of routes and of access."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gateway.api.admin import PREFIX
from gateway.api.admin.permissions import ACCESS, Reach
from gateway.api.admin.routes import ROUTES, CacheRoute
from gateway.api.openapi.admin_requests import BODIES, QUERY
from gateway.api.openapi.read_routes import path_parameter
from gateway.api.openapi.refusals import answered, refusals
from gateway.api.openapi.shapes import Operation, ref

_ALWAYS = (
    "invalid_api_key", "too_many_failures", "permission_denied", "invalid_field",
    "duplicate_field", "state_unavailable",
)  # fmt: skip
_OF_BODIES = ("invalid_json", "body_too_large", "upload_timeout", "conflict")
_MISSING, _UNKNOWN = ("missing_field",), ("not_found",)


@dataclass(frozen=True, slots=True)
class _Told:
    """What the table of routes does not say of one: its name, its answer, and its own refusals."""

    name: str
    summary: str
    answer: str
    codes: tuple[str, ...] = ()


# fmt: off
TOLD: Mapping[str, _Told] = MappingProxyType({
    "GET /organisation": _Told("showOrganisation", "The organisation", "Organisation"),
    "PATCH /organisation": _Told("updateOrganisation", "Change its terms", "Organisation"),
    "GET /teams": _Told("listTeams", "The teams", "TeamPage"),
    "POST /teams": _Told("createTeam", "A new team", "Team", _MISSING),
    "GET /teams/{name}": _Told("showTeam", "A team", "Team", _UNKNOWN),
    "PATCH /teams/{name}": _Told("updateTeam", "Change its terms", "Team", _UNKNOWN),
    "DELETE /teams/{name}": _Told("archiveTeam", "End a team", "Team", _UNKNOWN),
    "GET /keys": _Told("listKeys", "The keys", "KeyPage", _UNKNOWN),
    "POST /keys": _Told("createKey", "A new key", "NewKey", (*_MISSING, *_UNKNOWN)),
    "GET /keys/{id}": _Told("showKey", "A key", "Key", _UNKNOWN),
    "PATCH /keys/{id}": _Told("updateKey", "Change its terms", "Key", _UNKNOWN),
    "DELETE /keys/{id}": _Told("revokeKey", "End a key", "Key", _UNKNOWN),
    "POST /keys/{id}/rotate": _Told("rotateKey", "Give it a new secret", "NewKey", _UNKNOWN),
    "GET /tokens": _Told("listTokens", "The admin tokens", "TokenPage"),
    "POST /tokens": _Told(
        "createToken", "A new admin token", "NewToken", (*_MISSING, *_UNKNOWN)),
    "DELETE /tokens/{id}": _Told("revokeToken", "End an admin token", "Token", _UNKNOWN),
    "POST /pause": _Told("pause", "Nothing more is bought, by a team or all", "Paused", _UNKNOWN),
    "POST /resume": _Told("resume", "It is bought again", "Paused", _UNKNOWN),
    "GET /audit": _Told("listChanges", "Who changed what, when and why", "ChangePage"),
    "GET /usage": _Told("showUsage", "Requests and money, grouped", "Usage", _UNKNOWN),
    "GET /ledger": _Told("listLedger", "Every upstream call", "LedgerPage", _UNKNOWN),
    "GET /ledger/verify": _Told("verifyLedger", "Do the books agree?", "Verification"),
    "GET /ledger/unresolved": _Told(
        "listUnresolved", "Money that is held", "ReservationPage"),
    "GET /ledger/closings": _Told("listClosedMonths", "The months that are closed", "ClosedPage"),
    "POST /ledger/resolve": _Told(
        "resolveLedger", "Settle what dead processes have left held", "Resolution"),
    "POST /ledger/corrections": _Told(
        "correctLedger", "What a request did cost", "Correction", (*_MISSING, *_UNKNOWN)),
    "GET /cache": _Told("showCache", "What is stored, and what it saved", "Cache", _UNKNOWN),
    "POST /cache/purge": _Told(
        "purgeCache", "Delete stored results", "Purge", (*_MISSING, *_UNKNOWN)),
    "POST /cache/verify": _Told(
        "verifyCache", "Check every stored result's digest", "CacheVerification"),
})
# fmt: on


def operations() -> Mapping[str, Mapping[str, Operation]]:
    """By path and method."""
    found: defaultdict[str, dict[str, Operation]] = defaultdict(dict)
    for route in ROUTES:
        method, path = route.split()
        found[f"{PREFIX}{path}"][method.lower()] = _operation(route)
    return found


def _operation(route: str) -> Operation:
    method, path = route.split()
    told, served = TOLD[route], ROUTES[route]
    codes = (*_ALWAYS, *told.codes, *(() if method == "GET" else _OF_BODIES))
    if isinstance(served, CacheRoute):
        codes = (*codes, "results_unavailable")
    operation: Operation = {
        "operationId": told.name,
        "summary": told.summary,
        "description": f"For {_who(route)}.",
        "tags": ["administration"],
        "security": [{"admin": []}],
        "parameters": [
            *(path_parameter(name) for name in ("name", "id") if f"{{{name}}}" in path),
            *({"name": n, "in": "query", "schema": QUERY[n]} for n in served.query),
        ],
        "responses": {
            str(served.status): answered("Done.", ref(told.answer), _ANSWERED),
            **refusals(codes),
        },
    }
    if body := BODIES.get(route):
        needed = bool(body["required"])
        content = {"application/json": {"schema": body}}
        operation["requestBody"] = {"required": needed, "content": content}
    return operation


_ANSWERED = ("X-Request-Id", "Cache-Control")


def _who(route: str) -> str:
    """The roles that may, in words."""
    said = {
        Reach.ALL: "",
        Reach.OWN: " (of its own team alone)",
    }
    may = [
        f"{role.value}{said[reach]}"
        for role, reach in ACCESS[route].items()
        if reach is not Reach.NONE
    ]
    return ", ".join(may)
