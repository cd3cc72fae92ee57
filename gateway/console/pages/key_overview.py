"""What the holder of a key sees: its limits, what is left of them, and a request for more."""

from __future__ import annotations

from gateway.api.admin.inputs import BudgetRequestBody
from gateway.api.admin.request_input import parsed_body
from gateway.api.key import ask_for_budget
from gateway.console.forms import Form
from gateway.console.page import Answer, PageRequest, Rendered, SeeOther
from gateway.model.caller import Caller
from gateway.model.errors import Refusal
from gateway.queries.key_status import key_status

LEVELS = (("team", "the team's"), ("key", "this key's"))


async def show(request: PageRequest) -> Answer:
    return await _page(request, _caller_of(request), Form())


async def ask(request: PageRequest) -> Answer:
    """Ask for more money on a budget of the key."""
    caller, form = _caller_of(request), request.form
    given = form.filled("level", "usd", "until", "reason")
    try:
        body = parsed_body(given, BudgetRequestBody)
        await request.reading(
            ask_for_budget(request.context, caller, body, request.visitor.holder.actor)
        )
    except Refusal as refusal:
        return await _page(request, caller, form.failed(refusal, budget="level"), refusal.status)
    return SeeOther("/console?asked=1")


def _caller_of(request: PageRequest) -> Caller:
    """Raises `permission_denied` for who has signed in without a key."""
    if request.visitor.caller is None:
        raise Refusal("permission_denied", "This is for who has signed in with a key.")
    return request.visitor.caller


async def _page(request: PageRequest, caller: Caller, form: Form, status: int = 200) -> Answer:
    context = request.context
    found = await key_status(caller, context.database, context.settings.zone, context.clock())
    values = {
        "form": form,
        "key": found.document(),
        "levels": LEVELS,
        "asked": "asked" in request.query,
        "degraded": request.parts.operation.readiness.degraded(),
    }
    return Rendered("key_overview.html", values, status)
