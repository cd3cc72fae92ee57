"""The schemas of what is answered on `/v1` and by the routes for operating."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.api.openapi.account_settings import combined_limits, separate_limits
from gateway.api.openapi.shapes import (
    ANYTHING,
    COUNT,
    FLAG,
    MOMENT,
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
from gateway.model import errors
from gateway.model.caller import PERIODS
from gateway.model.outcome import Outcome
from gateway.queries.rules.retry_forecast import Would
from gateway.wire.events import NAMES as EVENTS

MONEY: Schema = {
    "type": "string",
    "pattern": r"^-?[0-9]+(\.[0-9]{2,9})?$",
    "description": "US dollars as exact decimal text.",
}
TYPES = sorted({kind.type for kind in errors.KINDS.values()})

_LIMITED: Schema = record({"limit": maybe(COUNT), "left": maybe(COUNT), "resets_at": maybe(MOMENT)})
_LEVEL = record(
    {
        "level": one_of(["organisation", "team", "key"]),
        "name": TEXT,
        "paused": FLAG,
        "budget": record(
            {
                "limit_usd": maybe(ref("Money")),
                "period": one_of(PERIODS),
                "spent_usd": ref("Money"),
                "held_usd": ref("Money"),
                "left_usd": maybe(ref("Money")),
                "resets_at": maybe(MOMENT),
            }
        ),
        "paid_images": record(
            {
                "limit": maybe(COUNT),
                "bought": COUNT,
                "held": COUNT,
                "left": maybe(COUNT),
                "resets_at": maybe(MOMENT),
            }
        ),
        "requests_per_minute": maybe(_LIMITED),
        **separate_limits(),
    },
    optional=("budget", "paid_images", "requests_per_minute", *separate_limits()),
)
_PICTURE = record(
    {
        "b64_json": told(TEXT, "The picture."),
        "url": told(TEXT, "Where it is for a while, with response_format=url; never stored."),
        "revised_prompt": TEXT,
        "index": COUNT,
    },
    optional=("b64_json", "url", "revised_prompt", "index"),
    open_ended=True,
)

SCHEMAS: Mapping[str, Schema] = {
    "Money": MONEY,
    "Error": record(
        {
            "error": record(
                {
                    "message": told(TEXT, "What happened, and what to do about it."),
                    "type": one_of(TYPES),
                    "param": maybe(TEXT),
                    "code": one_of(errors.KINDS),
                },
                open_ended=True,
            )
        }
    ),
    "UpstreamError": told(
        record({"error": ANYTHING}, open_ended=True),
        "The upstream's own error, passed on as it came; X-Gateway-Error-Source is `upstream`.",
    ),
    "Images": told(
        record(
            {
                "created": COUNT,
                "model": TEXT,
                "data": {**listed(_PICTURE), "minItems": 1},
                "usage": told(
                    ANYTHING,
                    "As the upstream has it. For whoever did not pay, `cost.total_cost` is 0 and "
                    "`cost.saved_cost` what it would have been.",
                ),
            },
            optional=("created", "model", "usage"),
            open_ended=True,
        ),
        "The upstream's answer.",
    ),
    "Event": told(
        record(
            {
                "event": told(one_of(EVENTS), "An error has none."),
                "data": {"type": "string", "contentMediaType": "application/json"},
            },
            optional=["event"],
        ),
        "Each event of a stream: partial pictures, then a completed one for each picture.",
    ),
    "Model": told(
        record({"id": TEXT, "object": TEXT}, optional=("object",), open_ended=True),
        "As the upstream has it; `edit` says whether it edits, and how many references it takes.",
    ),
    "Models": record({"object": only("list"), "data": listed(ref("Model"))}),
    "Standing": record(
        {
            "object": only("key"),
            "id": TEXT,
            "name": TEXT,
            "team": TEXT,
            "tags": TEXTS,
            "owner": TEXT,
            "cost_centre": TEXT,
            "expires_at": maybe(MOMENT),
            "paused": FLAG,
            "spendable_usd": maybe(ref("Money")),
            **combined_limits(),
            "levels": listed(_LEVEL),
        }
    ),
    "Request": record(
        {
            "object": only("request"),
            "id": TEXT,
            "state": told(
                one_of(["running", "lost", "ended"]),
                "`lost`: its process died; what it held is booked in full, as an estimate.",
            ),
            "at": told(maybe(MOMENT), "When it was answered."),
            "route": one_of(["edits", "generations"]),
            "model": maybe(TEXT),
            "fingerprint": maybe(TEXT),
            "outcome": maybe(one_of(Outcome)),
            "status": maybe(COUNT),
            "code": maybe(TEXT),
            "ms": maybe({"type": "number"}),
            "stages_ms": {"type": "object", "additionalProperties": {"type": "number"}},
            "charged": told(maybe(FLAG), "Null while that is not known yet."),
            "cost_usd": maybe(ref("Money")),
            "estimated": told(FLAG, "The cost is what was reserved, until it is corrected."),
            "held_usd": ref("Money"),
            "saved_usd": ref("Money"),
            "upstream_request_id": maybe(TEXT),
            "stored": told(FLAG, "Its picture is stored: asking for it again costs nothing."),
            "stored_until": maybe(MOMENT),
            "retry": record(
                {
                    "safe": told(FLAG, "The same request does not pay for the same twice."),
                    "would": told(one_of(Would), "What the same request would meet."),
                    "seconds": told(maybe(COUNT), "For how long, with `same_error`."),
                    "message": TEXT,
                }
            ),
        }
    ),
    "Health": record({"status": only("ok")}),
    "Readiness": record(
        {
            "status": one_of(["ready", "draining"]),
            "degraded": told(listed(TEXT), "What does not work, though the gateway does."),
        },
        optional=("degraded",),
    ),
}
