"""What the upstream's `GET /v1/models` says, and what that permits."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.model.caller import Account
from gateway.model.edit import ModelFacts, Route
from gateway.model.errors import Refusal

_NAMED_MODELS = 10
"""How many models a refusal names."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A parsed catalogue: each model's facts, and its item as the upstream sent it."""

    facts: Mapping[str, ModelFacts]
    items: Mapping[str, Mapping[str, Any]]

    @property
    def largest_cap(self) -> int | None:
        """The most references that any model takes; None where one takes any number."""
        caps = [f.max_reference_images for f in self.facts.values() if f.edit_supported]
        return None if not caps or None in caps else max(cap for cap in caps if cap is not None)


def parse(body: bytes, overrides: Mapping[str, ModelFacts] | None = None) -> Listing:
    """The models of a `GET /models` answer. Raises ValueError where it is not one."""
    document = json.loads(body)
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, list):
        raise ValueError("no list under `data`")
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
    if not isinstance(edit, dict):
        return ModelFacts(name, max_n=_count(item.get("max_n")))
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
    return ModelFacts(
        facts.id,
        _first(override.edit_supported, facts.edit_supported),
        _first(override.max_reference_images, facts.max_reference_images),
        _first(override.max_n, facts.max_n),
    )


def _first(ours: Any, theirs: Any) -> Any:
    return theirs if ours is None else ours


@dataclass(frozen=True, slots=True)
class Cap:
    """How many reference images are taken, and who says so."""

    count: int
    whose: str


def reference_cap(facts: ModelFacts | None, accounts: Iterable[Account]) -> Cap | None:
    """The least cap of the model and of every account; None where none is known."""
    caps = [
        Cap(a.limits.max_reference_images, f"the {a.level}'s limit")
        for a in accounts
        if a.limits.max_reference_images is not None
    ]
    if facts and facts.max_reference_images is not None:
        caps.append(Cap(facts.max_reference_images, f"the model {facts.id}"))
    return min(caps, key=lambda cap: cap.count, default=None)


def check_references(count: int, cap: Cap | None) -> None:
    """Raises Refusal where there are more references than the cap takes."""
    if cap is None or count <= cap.count:
        return
    images = "image" if cap.count == 1 else "images"
    raise Refusal(
        "too_many_reference_images",
        f"{cap.whose} takes at most {cap.count} reference {images} and this edit brings "
        f"{'more' if count == cap.count + 1 else count}; send {cap.count} or fewer.",
        param="image",
        facts={"limit": cap.count},
    )


def may_use(model: str, accounts: Iterable[Account]) -> bool:
    """Does every level allow the model?"""
    return all(a.limits.models is None or model in a.limits.models for a in accounts)


def check_model_allowed(model: str, accounts: Iterable[Account]) -> None:
    """Raises Refusal unless every level allows the model."""
    for account in accounts:
        models = account.limits.models
        if models is not None and model not in models:
            allowed = ", ".join(sorted(models)[:_NAMED_MODELS]) or "none"
            more = len(models) - _NAMED_MODELS
            raise Refusal(
                "model_not_allowed",
                f"This {account.level} may not use the model {model}; it may use: {allowed}"
                f"{f' and {more} more' if more > 0 else ''}. "
                "Ask whoever runs the gateway to allow it.",
                param="model",
            )


def check_model(facts: ModelFacts | None, *, route: Route, n: int) -> None:
    """Raises Refusal where the model can't edit or can't make `n` pictures at once."""
    if facts is None:
        return
    if route == "edits" and facts.edit_supported is False:
        raise Refusal(
            "edit_not_supported",
            f"The model {facts.id} can't edit images, it only generates them; choose a model "
            "whose `edit.supported` is true in GET /v1/models.",
            param="model",
        )
    if facts.max_n is not None and n > facts.max_n:
        raise Refusal(
            "unsupported_n",
            f"The model {facts.id} makes at most {facts.max_n} at once; send n={facts.max_n} "
            "or fewer.",
            param="n",
            facts={"limit": facts.max_n},
        )
