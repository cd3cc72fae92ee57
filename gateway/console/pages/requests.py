"""Requests: a list of them, what happened to one, and whether a retry is safe."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode

from gateway.console.forms import Form
from gateway.console.page import Answer, PageRequest, Rendered, SeeOther
from gateway.console.rules.request_stages import stages_of
from gateway.model.errors import Refusal
from gateway.model.outcome import Outcome
from gateway.model.windows import days_before
from gateway.queries.models.read_model import Json

PATH = "/console/requests"
SHOWN = 100
LISTED_DAYS = 7
_FIELDS = ("team", "key", "end_user", "model", "outcome", "cost_usd", "from", "to")


async def show(request: PageRequest) -> Answer:
    """The requests that the form asks for; the one whose id is given."""
    today = request.parts.budgets.service.today
    days = {"from": days_before(today, LISTED_DAYS - 1), "to": today}
    form = Form({**dict.fromkeys(_FIELDS, ""), "id": "", **days, **request.query})
    if request_id := form.text("id"):
        return SeeOther(f"{PATH}/{quote(request_id, safe='')}")
    asked = form.filled(*_FIELDS)
    status = 200
    try:
        paged = {"limit": str(SHOWN), **form.filled("after")}
        found = await request.call("GET /requests", query={**asked, **paged})
    except Refusal as refusal:
        if refusal.status >= 500:
            raise
        form, found, status = form.failed(refusal), {"data": [], "next": None}, refusal.status
    return Rendered(
        "requests.html",
        {
            "form": form,
            "requests": found["data"],
            "next": found["next"] and urlencode({**asked, "after": found["next"]}),
            "outcomes": [("", "any"), *((each.value, each.value) for each in Outcome)],
            "sees_all": request.visitor.holder.team is None,
            "is_member": request.visitor.holder.key_id != "",
        },
        status,
    )


async def show_one(request: PageRequest) -> Answer:
    found = await request.call(
        "GET /requests/{id}", path={"id": request.exchange.path_parameters["id"]}
    )
    return Rendered(
        "request.html",
        {
            "request": found,
            "key": await _key_name(request, found),
            "stages": stages_of(found["stages_ms"]),
        },
    )


async def _key_name(request: PageRequest, found: Json) -> Mapping[str, str]:
    """The name of the key that made it, and its page for those who may see it."""
    visitor = request.visitor
    if not visitor.may("GET /keys/{id}"):
        return {"name": visitor.name, "href": ""}
    key = await request.call("GET /keys/{id}", path={"id": found["key"]})
    return {"name": f"{key['team']}/{key['name']}", "href": f"/console/keys/{key['id']}"}
