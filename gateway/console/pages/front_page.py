"""`/`: what this is, how to use it from code, and the models."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.console.page import Answer, PageRequest, Rendered
from gateway.queries.model_list import OfferedModel, offered_models
from gateway.queries.rules.snippets import KEY, snippets


async def show(request: PageRequest) -> Answer:
    models = _models(request)
    base_url = f"{request.base_url}/v1"
    visitor, settings = request.visit.visitor, request.context.settings
    return Rendered(
        "front_page.html",
        {
            "base_url": base_url,
            "snippets": snippets(base_url, KEY, _first_of(models)),
            "models": models if visitor or settings.console.public_index else None,
        },
    )


def _models(request: PageRequest) -> list[OfferedModel]:
    """The models that the visitor may use; where nobody has signed in, all."""
    visitor, parts = request.visit.visitor, request.parts
    accounts = visitor.caller.accounts if visitor and visitor.caller else ()
    today = parts.budgets.service.today
    return offered_models(parts.catalogues, request.context.prices, today, accounts)


def model_of_snippets(request: PageRequest, allowed: Sequence[str] | None) -> str:
    """A model that a key may edit with, of those allowed to it or all."""
    models = _models(request)
    return _first_of([each for each in models if allowed is None or each.name in allowed])


def _first_of(models: Sequence[OfferedModel]) -> str:
    return next((each.name for each in models if each.can_edit), "MODEL")
