"""Schemas of answers that no model makes: errors, and what the upstream answered."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.api.openapi.schemas import (
    ANYTHING,
    COUNT,
    TEXT,
    Schema,
    array,
    described,
    one_of,
    record,
    ref,
)
from gateway.model.errors import KINDS
from gateway.wire.events import NAMES as EVENTS

_PICTURE = record(
    {
        "b64_json": described(TEXT, "The picture."),
        "url": described(TEXT, "Where it is for a while, with response_format=url; never stored."),
        "revised_prompt": TEXT,
        "index": COUNT,
    },
    optional=("b64_json", "url", "revised_prompt", "index"),
    open_ended=True,
)

SCHEMAS: Mapping[str, Schema] = {
    "Error": record(
        {
            "error": record(
                {
                    "message": described(TEXT, "What happened, and what to do about it."),
                    "type": one_of(sorted({kind.type for kind in KINDS.values()})),
                    "param": {"type": ["string", "null"]},
                    "code": one_of(KINDS),
                },
                open_ended=True,
            )
        }
    ),
    "UpstreamError": described(
        record({"error": ANYTHING}, open_ended=True),
        "The upstream's own error, passed on as it came; X-Gateway-Error-Source is `upstream`.",
    ),
    "Images": described(
        record(
            {
                "created": COUNT,
                "model": TEXT,
                "data": {**array(_PICTURE), "minItems": 1},
                "usage": described(
                    ANYTHING,
                    "As the upstream has it. Where nothing was paid, `cost.total_cost` is 0 and "
                    "`cost.saved_cost` what it would have been.",
                ),
            },
            optional=("created", "model", "usage"),
            open_ended=True,
        ),
        "The upstream's answer.",
    ),
    "Event": described(
        record(
            {
                "event": described(one_of(EVENTS), "An error has none."),
                "data": {"type": "string", "contentMediaType": "application/json"},
            },
            optional=["event"],
        ),
        "Each event of a stream: partial pictures, then a completed one for each picture.",
    ),
    "Model": described(
        record({"id": TEXT, "object": TEXT}, optional=("object",), open_ended=True),
        "As the upstream has it; `edit` says whether it edits, and how many references it takes.",
    ),
    "Models": record({"object": {"type": "string", "const": "list"}, "data": array(ref("Model"))}),
}
