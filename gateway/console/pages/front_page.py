"""`/`: what this is, how to use it from code, and the models."""

from __future__ import annotations

from gateway.console.page import Answer, PageRequest, Rendered
from gateway.console.rules.snippets import KEY, snippets
from gateway.queries.model_list import OfferedModel, offered_models


async def show(request: PageRequest) -> Answer:
    models = _models(request)
    base_url = f"{request.base_url}/v1"
    model = next((each.name for each in models if each.can_edit), "MODEL")
    visitor, settings = request.visit.visitor, request.context.settings
    return Rendered(
        "front_page.html",
        {
            "base_url": base_url,
            "snippets": snippets(base_url, KEY, model),
            "models": models if visitor or settings.console.public_index else None,
        },
    )


def _models(request: PageRequest) -> list[OfferedModel]:
    """The models that the visitor may use; where nobody has signed in, all."""
    visitor, parts = request.visit.visitor, request.parts
    accounts = visitor.caller.accounts if visitor and visitor.caller else ()
    today = parts.budgets.service.today
    return offered_models(parts.catalogues, request.context.prices, today, accounts)
