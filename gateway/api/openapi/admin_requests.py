"""The schemas of what `/admin/v1` is asked with: bodies and query parameters.

They take whatever may be accepted; what of it is refused all the same (a name that is taken, a
period without a budget) is an `invalid_field` or a `conflict`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from gateway.accounts.rules.field_values import LARGEST_COUNT, MOST_MODELS
from gateway.accounts.rules.terms import NAMES
from gateway.api.admin.pagination import MOST
from gateway.api.openapi.shapes import DAY, FLAG, TEXT, Schema, maybe, one_of, told
from gateway.model.caller import PERIODS, Level

LINE: Schema = {"type": "string", "maxLength": 200, "pattern": r"^[^\x00-\x1f\x7f]*$"}
_NAME: Schema = {**LINE, "minLength": 1, "maxLength": 100}
_TEAM_NAME: Schema = {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"}
_ROLE: Schema = {"type": "string", "pattern": "^(admin|finance|team:[A-Za-z0-9._-]{1,64})$"}
_COUNT: Schema = {
    "anyOf": [
        {"type": "integer", "minimum": 0, "maximum": LARGEST_COUNT},
        {"type": "string", "pattern": "^[0-9]+$"},
        {"type": "null"},
    ]
}
_AMOUNT = r"^\s*[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?\s*$"
_DOLLARS: Schema = {
    "anyOf": [
        {"type": "number", "minimum": 0, "maximum": 10**9},
        {"type": "string", "pattern": _AMOUNT},
    ]
}
_SPAN: Schema = {
    "anyOf": [
        {"type": "number", "minimum": 0},
        {"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*(ms|s|m|h|d)?\s*$"},
    ],
    "description": "Seconds, or text such as 24h.",
}
_LISTED_TEXT: Schema = {"type": "string", "description": "The same, separated by commas."}

_TERMS: Mapping[str, Schema] = MappingProxyType(
    {
        "budget_usd": {"anyOf": [_DOLLARS, {"type": "null"}]},
        "budget_period": maybe(one_of(PERIODS)),
        "paid_images_per_day": _COUNT,
        "requests_per_minute": _COUNT,
        "max_in_flight": _COUNT,
        "max_reference_images": _COUNT,
        "models": {
            "anyOf": [
                {"type": "array", "maxItems": MOST_MODELS, "items": {**LINE, "minLength": 1}},
                _LISTED_TEXT,
                {"type": "null"},
            ]
        },
        "may_bypass_cache": maybe(FLAG),
        "unlimited": maybe(FLAG),
        "owner": maybe(LINE),
        "cost_centre": maybe(LINE),
        "tags": maybe(
            {
                "type": "object",
                "maxProperties": 32,
                "propertyNames": {"pattern": "^[A-Za-z0-9._-]{1,64}$"},
                "additionalProperties": LINE,
            }
        ),
        "expires_at": maybe(told(TEXT, "Such as 2027-01-31T18:00:00Z.")),
        "webhook_url": maybe({"type": "string", "pattern": r"^(https?://[^\s/]+\S*)?$"}),
        "warn_percents": {
            "anyOf": [{"type": "array", "maxItems": 10}, _LISTED_TEXT, {"type": "null"}]
        },
    }
)


def _asked(properties: Mapping[str, Schema], required: Iterable[str] = ()) -> Schema:
    """A body of these properties and perhaps a reason, which the audit keeps."""
    return {
        "type": "object",
        "required": list(required),
        "properties": {**properties, "reason": maybe(LINE)},
        "additionalProperties": False,
    }


def _terms(level: Level) -> Mapping[str, Schema]:
    return {name: _TERMS[name] for name in NAMES[level]}


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
        "PATCH /organisation": _asked(_terms("organisation")),
        "POST /teams": _asked({"name": _TEAM_NAME, **_terms("team")}, ["name"]),
        "PATCH /teams/{name}": _asked(_terms("team")),
        "POST /keys": _asked({"name": _NAME, "team": maybe(LINE), **_terms("key")}, ["name"]),
        "PATCH /keys/{id}": _asked(_terms("key")),
        "POST /keys/{id}/rotate": _asked({"grace": _SPAN}),
        "POST /tokens": _asked({"name": _NAME, "role": _ROLE}, ["name", "role"]),
        "POST /pause": _asked({"team": maybe(LINE)}),
        "POST /resume": _asked({"team": maybe(LINE)}),
        "POST /ledger/resolve": _asked({}),
        "POST /ledger/corrections": _asked(
            {"request_id": LINE, "cost_usd": _DOLLARS}, ["request_id", "cost_usd"]
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
