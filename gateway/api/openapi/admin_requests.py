"""The schemas of what `/admin/v1` is asked with: bodies and query parameters.

They take whatever may be accepted; what of it is refused all the same (a name that is taken, a
period without a budget) is an `invalid_field` or a `conflict`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from gateway.api.admin.pagination import MOST
from gateway.api.openapi.account_settings import DOLLARS, LINE, accepted_settings
from gateway.api.openapi.shapes import DAY, FLAG, Schema, maybe, told

_NAME: Schema = {**LINE, "minLength": 1, "maxLength": 100}
_TEAM_NAME: Schema = {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"}
_ROLE: Schema = {"type": "string", "pattern": "^(admin|finance|team:[A-Za-z0-9._-]{1,64})$"}
_SPAN: Schema = {
    "anyOf": [
        {"type": "number", "minimum": 0},
        {"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*(ms|s|m|h|d)?\s*$"},
    ],
    "description": "Seconds, or text such as 24h.",
}


def _asked(properties: Mapping[str, Schema], required: Iterable[str] = ()) -> Schema:
    """A body of these properties and perhaps a reason, which the audit keeps."""
    return {
        "type": "object",
        "required": list(required),
        "properties": {**properties, "reason": maybe(LINE)},
        "additionalProperties": False,
    }


_PURGE: Mapping[str, Schema] = {
    "fingerprint": maybe({**LINE, "minLength": 1}),
    "team": maybe({**LINE, "minLength": 1}),
    "key": maybe(told({**LINE, "minLength": 1}, "An id, or TEAM/NAME.")),
    "model": maybe({**LINE, "minLength": 1}),
    "older_than": maybe(_SPAN),
    "containing": told(
        maybe({"type": "string", "pattern": "^[0-9a-f]{64}$"}), "BLAKE3 of a reference's bytes."
    ),
    "all": maybe(FLAG),
    "dry_run": maybe(FLAG),
}

BODIES: Mapping[str, Schema] = MappingProxyType(
    {
        "PATCH /organisation": _asked(accepted_settings("organisation")),
        "POST /teams": _asked({"name": _TEAM_NAME, **accepted_settings("team")}, ["name"]),
        "PATCH /teams/{name}": _asked(accepted_settings("team")),
        "POST /keys": _asked(
            {"name": _NAME, "team": maybe(LINE), **accepted_settings("key")}, ["name"]
        ),
        "PATCH /keys/{id}": _asked(accepted_settings("key")),
        "POST /keys/{id}/rotate": _asked({"grace": _SPAN}),
        "POST /tokens": _asked({"name": _NAME, "role": _ROLE}, ["name", "role"]),
        "POST /pause": _asked({"team": maybe(LINE)}),
        "POST /resume": _asked({"team": maybe(LINE)}),
        "POST /ledger/resolve": _asked({}),
        "POST /ledger/corrections": _asked(
            {"request_id": LINE, "cost_usd": DOLLARS}, ["request_id", "cost_usd"]
        ),
        "POST /cache/purge": _asked(_PURGE),
        "POST /cache/verify": _asked({}),
    }
)
"""By route, every body that is taken; a DELETE has its reason in the query."""

QUERY: Mapping[str, Schema] = MappingProxyType(
    {
        "limit": {"type": "integer", "minimum": 1, "maximum": MOST},
        "after": told(LINE, "What the last page gave as `next`."),
        "archived": FLAG,
        "revoked": FLAG,
        "team": LINE,
        "reason": told(LINE, "Why, for the audit."),
        "since": told(LINE, "Such as 2026-11-01T00:00:00Z."),
        "subject": LINE,
        "from": DAY,
        "to": DAY,
        "by": told(LINE, "team, key, model, day, cost_centre, owner, paid_by or tag:NAME."),
    }
)
