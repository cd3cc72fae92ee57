"""Reads the upstream's `GET /v1/models`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from gateway.model.edit import ModelFacts
from gateway.wire.json_cutter import check_marks

_MOST_MODELS = 5_000
_MOST_MARKS = 200_000
"""Bounds the time for which parsing blocks the event loop."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A parsed catalogue: each model's facts, and its item as the upstream sent it."""

    facts: Mapping[str, ModelFacts]
    items: Mapping[str, Mapping[str, Any]]

    @property
    def largest_reference_limit(self) -> int | None:
        """The most references that any model takes; None where one takes any number."""
        caps = [f.max_reference_images for f in self.facts.values() if f.edit_supported]
        return None if not caps or None in caps else max(cap for cap in caps if cap is not None)


def parse_json(body: bytes) -> Any:
    """The JSON of a `GET /models` answer, of any API. Raises ValueError where it is none."""
    check_marks(body, _MOST_MARKS)
    try:
        return json.loads(body)
    except RecursionError:
        raise ValueError("nested too deep") from None


def parse(body: bytes, overrides: Mapping[str, ModelFacts] | None = None) -> Listing:
    """The models of a `GET /models` answer. Raises ValueError where it is not one."""
    document = parse_json(body)
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, list):
        raise ValueError("no list under `data`")
    if len(data) > _MOST_MODELS:
        raise ValueError(f"more than {_MOST_MODELS} models")
    items = {
        item["id"]: item
        for item in data
        if isinstance(item, dict) and isinstance(item.get("id"), str)
    }
    if not items:
        raise ValueError("no model under `data`")
    facts = {name: _facts(name, item) for name, item in items.items()}
    for name, override in (overrides or {}).items():
        facts[name] = overridden(facts.get(name, ModelFacts(name)), override)
    return Listing(facts, items)


def _facts(name: str, item: Mapping[str, Any]) -> ModelFacts:
    edit = item.get("edit")
    edit = edit if isinstance(edit, dict) else {}
    supported = edit.get("supported")
    return ModelFacts(
        name,
        edit_supported=supported if isinstance(supported, bool) else None,
        max_reference_images=_count(edit.get("max_reference_images")),
        max_n=_count(item.get("max_n")),
    )


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def overridden(facts: ModelFacts, override: ModelFacts) -> ModelFacts:
    """Facts with every value that the settings give in place of the catalogue's."""
    given = {name: value for name, value in asdict(override).items() if value is not None}
    return replace(facts, **given | {"id": facts.id})
