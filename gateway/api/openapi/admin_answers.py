"""The schemas of what `/admin/v1` answers; `showing` makes the documents that they describe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args, get_type_hints

from gateway.api.openapi.account_settings import answered_settings
from gateway.api.openapi.shapes import (
    ANYTHING,
    COUNT,
    DAY,
    FLAG,
    MOMENT,
    SHARE,
    TEXT,
    TEXTS,
    Schema,
    listed,
    maybe,
    one_of,
    only,
    record,
    ref,
    told,
)
from gateway.ledger.tables.ledger_rows import LedgerRow

_MONEY, _WHEN = ref("Money"), maybe(MOMENT)
_KINDS = get_args(get_type_hints(LedgerRow)["kind"])
_BY_NAME: Schema = {"type": "object", "additionalProperties": _MONEY}
_COUNTS: Schema = {"type": "object", "additionalProperties": COUNT}

_ORGANISATION: Mapping[str, Schema] = {
    "object": only("organisation"),
    **answered_settings("organisation"),
    "paused": FLAG,
}
_TEAM: Mapping[str, Schema] = {
    "object": only("team"), "name": TEXT, **answered_settings("team"), "paused": FLAG,
    "created_at": MOMENT, "archived_at": _WHEN,
}  # fmt: skip
_KEY: Mapping[str, Schema] = {
    "object": only("key"), "id": TEXT, "team": TEXT, "name": TEXT, "secret_hint": TEXT,
    "old_secret_valid_until": _WHEN, **answered_settings("key"), "created_at": MOMENT,
    "revoked_at": _WHEN,
}  # fmt: skip
_TOKEN: Mapping[str, Schema] = {
    "object": only("token"), "id": TEXT, "name": TEXT, "role": TEXT, "secret_hint": TEXT,
    "created_at": MOMENT, "revoked_at": _WHEN,
}  # fmt: skip
_SECRET: Mapping[str, Schema] = {"secret": told(TEXT, "Shown this once.")}
_LEDGER_ROW: Mapping[str, Schema] = {
    "object": only("ledger_row"), "id": TEXT, "kind": one_of(_KINDS),
    "corrects": maybe(TEXT), "at": MOMENT, "day": DAY, "request_id": TEXT,
    "upstream_request_id": TEXT, "credential": TEXT, "team": TEXT, "key": TEXT, "model": TEXT,
    "route": TEXT, "fingerprint": TEXT, "reference_images": COUNT, "body_bytes": COUNT,
    "answer_bytes": COUNT, "status": maybe(COUNT), "n": COUNT, "images": {"type": "integer"},
    "cost_usd": _MONEY, "estimated": FLAG, "owner": TEXT, "cost_centre": TEXT, "tags": TEXTS,
    "late_for": maybe(DAY),
}  # fmt: skip
_USAGE_LINE: Mapping[str, Schema] = {
    "group": TEXT, "name": told(TEXT, "TEAM/NAME, by key."), "calls": COUNT, "hits": COUNT,
    "coalesced": COUNT, "outcomes": _COUNTS, "errors": COUNT, "error_share": SHARE,
    "paid_calls": COUNT, "spent_usd": _MONEY, "estimated_calls": COUNT, "estimated_usd": _MONEY,
    "estimated_share": SHARE, "corrections_usd": _MONEY, "saved_usd": _MONEY,
    "saved_usd_by_cause": _BY_NAME,
}  # fmt: skip
_HELD: Mapping[str, Schema] = {
    "id": TEXT, "made_at": MOMENT, "day": DAY, "request_id": TEXT, "team": TEXT, "key": TEXT,
    "model": TEXT, "held_usd": _MONEY, "images": COUNT,
}  # fmt: skip
_ENTRY: Mapping[str, Schema] = {
    "fingerprint": TEXT, "team": TEXT, "key": TEXT, "model": TEXT, "created_at": MOMENT,
    "expires_at": MOMENT, "bytes": COUNT, "cost_usd": maybe(_MONEY), "reference_images": COUNT,
    "request_id": TEXT,
}  # fmt: skip
_REUSE = record({"fingerprint": TEXT, "model": TEXT, "uses": COUNT, "saved_usd": _MONEY})
_BORROWING = record({"team": TEXT, "paid_by_team": TEXT, "uses": COUNT, "saved_usd": _MONEY})
_HOW_FAR: Mapping[str, Schema] = {
    "complete": told(FLAG, "If false, it goes on: ask again."),
    "done": COUNT,
    "total": COUNT,
}
_PARTLY = ("done", "total")
_HOLDINGS: Mapping[str, Schema] = {
    "team": maybe(TEXT), "entries": COUNT, "bytes": COUNT, "max_bytes": maybe(COUNT),
    "oldest_at": _WHEN, "from": DAY, "to": DAY, "answered": COUNT, "hits": COUNT,
    "coalesced": COUNT, "hit_share": SHARE, "saved_usd": _MONEY, "saved_usd_by_cause": _BY_NAME,
    "top_by_use": listed(_REUSE), "top_by_saving": listed(_REUSE), "counts": maybe(ANYTHING),
}  # fmt: skip
_SELECTED: Mapping[str, Schema] = {
    "entries": COUNT,
    "bytes": COUNT,
    "first": listed(record(_ENTRY)),
}


def _page(item: str) -> Schema:
    """A listing: `next` goes into `after` for what follows."""
    return record(
        {"object": only("list"), "data": listed(ref(item)), "has_more": FLAG, "next": maybe(TEXT)}
    )


SCHEMAS: Mapping[str, Schema] = {
    "Organisation": record(_ORGANISATION),
    "Team": record(_TEAM),
    "TeamPage": _page("Team"),
    "Key": record(_KEY),
    "NewKey": record({**_KEY, **_SECRET}),
    "KeyPage": _page("Key"),
    "Token": record(_TOKEN),
    "NewToken": record({**_TOKEN, **_SECRET}),
    "TokenPage": _page("Token"),
    "Paused": {"oneOf": [ref("Organisation"), ref("Team")]},
    "Change": record(
        {
            "object": only("change"), "id": COUNT, "at": MOMENT, "actor": TEXT, "action": TEXT,
            "subject": TEXT, "old": ANYTHING, "new": ANYTHING, "reason": TEXT,
        }
    ),
    "ChangePage": _page("Change"),
    "UsageLine": record(_USAGE_LINE, optional=["name"]),
    "Usage": record(
        {
            "object": only("list"), "by": TEXT, "from": DAY, "to": DAY, "team": maybe(TEXT),
            "timezone": TEXT, "data": listed({"anyOf": [ref("UsageLine"), _BORROWING]}),
            "total": ref("UsageLine"), "has_more": FLAG, "next": maybe(TEXT),
        },
        optional=["total"],
    ),
    "LedgerRow": record(_LEDGER_ROW),
    "LedgerPage": _page("LedgerRow"),
    "Verification": record(
        {
            "object": only("verification"), "agrees": FLAG, "differences": listed(ANYTHING),
            "spent_usd": _MONEY, "held_usd": _MONEY, "estimated_usd": _MONEY,
            "estimated_calls": COUNT, "ledger_rows": COUNT, "open_reservations": COUNT,
            "closed_through": maybe(TEXT), "requests_from": maybe(TEXT),
        }
    ),
    "ClosedMonth": record(
        {
            "object": only("closed_month"), "period": TEXT, "from": DAY, "to": DAY,
            "timezone": TEXT, "closed_at": MOMENT, "closed_by": TEXT, "ledger_rows": maybe(COUNT),
            "spent_usd": maybe(_MONEY), "corrections_usd": maybe(_MONEY),
            "saved_usd": maybe(_MONEY), "estimated_calls": COUNT, "digest": maybe(TEXT),
        }
    ),
    "ClosedPage": _page("ClosedMonth"),
    "Reservation": record(
        {"object": only("reservation"), **_HELD, "heartbeat_at": _WHEN, "abandoned": FLAG}
    ),
    "ReservationPage": _page("Reservation"),
    "Resolution": record(
        {
            "object": only("resolution"), "resolved": COUNT, "booked_usd": _MONEY,
            "reservations": listed(record(_HELD)), "has_more": FLAG,
        }
    ),
    "Correction": record(
        {
            "object": only("correction"), "request_id": TEXT, "before_usd": _MONEY,
            "cost_usd": _MONEY, "corrections": COUNT, "held_usd": _MONEY, "booked_in": maybe(TEXT),
        }
    ),
    "Cache": record(
        {"object": only("cache"), **_HOW_FAR, **_HOLDINGS}, optional=[*_PARTLY, *_HOLDINGS]
    ),
    "Purge": record(
        {
            "object": only("purge"), "dry_run": FLAG, **_HOW_FAR, "selection": ANYTHING,
            **_SELECTED, "purged": maybe(COUNT),
        },
        optional=[*_PARTLY, *_SELECTED],
    ),
    "CacheVerification": record(
        {
            "object": only("cache_verification"), **_HOW_FAR, "checked": COUNT,
            "damaged": maybe(COUNT),
        },
        optional=_PARTLY,
    ),
}  # fmt: skip
