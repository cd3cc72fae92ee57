"""JSON Schemas: of pydantic models, and of answers that no model makes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

from gateway.model.errors import KINDS
from gateway.queries.models.quote import QuoteView
from gateway.wire.events import NAMES as EVENTS

Schema = dict[str, Any]
Operation = dict[str, Any]
_COMPONENTS = "#/components/schemas/{model}"

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
ANYTHING: Schema = {"type": "object", "additionalProperties": True}


class _Generator(GenerateJsonSchema):
    """No titles, no defaults, and components named without `View`."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: Any) -> Schema:
        return self.generate_inner(schema["schema"])

    def normalize_name(self, name: str) -> str:
        """`Team` for TeamView, `TeamPage` for a page of it."""
        name = super().normalize_name(name).removesuffix("View")
        return re.sub(r"^Page_(\w+)View_$", r"\1Page", name)


def answer_schemas(answers: Mapping[str, Any]) -> tuple[Mapping[str, Schema], Schema]:
    """The schemas of read models and of unions of them, by key, and the components they use."""
    mode: JsonSchemaMode = "serialization"
    found, shared = TypeAdapter.json_schemas(
        [(key, mode, TypeAdapter(answer)) for key, answer in answers.items()],
        ref_template=_COMPONENTS,
        schema_generator=_Generator,
    )
    by_key = {key: schema for (key, _), schema in found.items()}
    return by_key, _untitled(shared.get("$defs", {}))


def input_schema(model: type[BaseModel]) -> Schema:
    """The schema of a body or of a query."""
    return {"required": [], **_untitled(model.model_json_schema(schema_generator=_Generator))}


def _untitled(schema: Any) -> Any:
    """Without the titles of models, which repeat their names."""
    if isinstance(schema, list):
        return [_untitled(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: _untitled(each)
        for name, each in schema.items()
        if not (name == "title" and isinstance(each, str))
    }


def ref(name: str) -> Schema:
    """A schema of the components."""
    return {"$ref": _COMPONENTS.format(model=name)}


def one_of(values: Iterable[str]) -> Schema:
    return {"type": "string", "enum": list(values)}


def array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def described(schema: Schema, description: str) -> Schema:
    return {**schema, "description": description}


def record(
    properties: Mapping[str, Schema], *, optional: Iterable[str] = (), open_ended: bool = False
) -> Schema:
    """An object of exactly these properties; with `open_ended`, of others too."""
    left_out = set(optional)
    return {
        "type": "object",
        "required": [name for name in properties if name not in left_out],
        "properties": dict(properties),
        "additionalProperties": open_ended,
    }


_PICTURE = record(
    {
        "b64_json": described(TEXT, "The picture."),
        "url": described(TEXT, "Where it is for a while, with response_format=url."),
        "revised_prompt": TEXT,
        "index": COUNT,
    },
    optional=("b64_json", "url", "revised_prompt", "index"),
    open_ended=True,
)

SCHEMAS: Mapping[str, Schema] = {
    **answer_schemas({"quote": QuoteView})[1],
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
        record(
            {"id": TEXT, "object": TEXT, "upstream": TEXT}, optional=("object",), open_ended=True
        ),
        "As its upstream has it; `edit` says whether it edits, and how many references it takes.",
    ),
    "Models": record({"object": {"type": "string", "const": "list"}, "data": array(ref("Model"))}),
}
