"""What a caller may do with a model: which models, how many reference images and pictures."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.model.caller import Account
from gateway.model.edit import ModelFacts, Route
from gateway.model.errors import Refusal

_NAMED_MODELS = 10
"""How many models a refusal names."""


@dataclass(frozen=True, slots=True)
class ReferenceLimit:
    """The most reference images of an edit, and whose limit that is."""

    count: int
    whose: str


def reference_limit(facts: ModelFacts | None, accounts: Iterable[Account]) -> ReferenceLimit | None:
    """The lowest limit of the model and the accounts; None where none is known."""
    limits = [
        ReferenceLimit(a.limits.max_reference_images, f"the {a.level}'s limit")
        for a in accounts
        if a.limits.max_reference_images is not None
    ]
    if facts and facts.max_reference_images is not None:
        limits.append(ReferenceLimit(facts.max_reference_images, f"the model {facts.id}"))
    return min(limits, key=lambda limit: limit.count, default=None)


def most_references(facts: ModelFacts | None) -> float:
    """The model's own limit as a number."""
    limit = facts.max_reference_images if facts else None
    return math.inf if limit is None else limit


def check_references(count: int, limit: ReferenceLimit | None) -> None:
    """Raises Refusal where there are more reference images than the limit allows."""
    if limit is None or count <= limit.count:
        return
    images = "image" if limit.count == 1 else "images"
    raise Refusal(
        "too_many_reference_images",
        f"{limit.whose} takes at most {limit.count} reference {images} and this edit brings "
        f"{'more' if count == limit.count + 1 else count}; send {limit.count} or fewer.",
        param="image",
        facts={"limit": limit.count},
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
                "Ask the operator of the gateway to allow it.",
                param="model",
            )


def check_images(n: int, accounts: Iterable[Account]) -> None:
    """Raises Refusal where a level allows fewer images per request."""
    limits = (account.limits.max_images_per_request for account in accounts)
    most = min((limit for limit in limits if limit is not None), default=n)
    if n > most:
        raise Refusal(
            "unsupported_n",
            f"This key may ask for at most {most} images per request, and n is {n}; send n={most} "
            "or fewer, or ask the operator of the gateway to raise max_images_per_request.",
            param="n",
            facts={"limit": most},
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
