"""JSON Schemas of pydantic models, and small ones from which the others are put together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

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
