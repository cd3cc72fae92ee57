"""Teams: what each has spent and left, and one with its limits, its keys and its pause."""

from __future__ import annotations

from urllib.parse import quote

from gateway.api.admin.token_holder import Role
from gateway.console.forms import Form
from gateway.console.page import Answer, PageRequest, Rendered, SeeOther
from gateway.console.rules.attention import used_share
from gateway.console.rules.settings_form import changed_settings, setting_fields
from gateway.model.errors import Refusal
from gateway.queries.models.read_model import Json

PATH, EMPTY = "/console/teams", Form()
SHOWN = 200
"""The most teams of a page, and the most keys of a team's page."""


async def show(request: PageRequest) -> Answer:
    """All teams; the holder of a team's token sees that team."""
    holder = request.visitor.holder
    if holder.role is Role.TEAM and holder.team is not None:
        return await team_page(request, holder.team)
    return await _list(request, EMPTY)


async def create(request: PageRequest) -> Answer:
    form = request.form
    try:
        settings = changed_settings("team", {}, form.values)
        made = await request.call("POST /teams", body={"name": form.text("name"), **settings})
    except Refusal as refusal:
        return await _list(request, form.failed(refusal), refusal.status)
    return SeeOther(path_of(made["name"]))


async def show_one(request: PageRequest) -> Answer:
    return await team_page(request, request.exchange.path_parameters["name"])


async def update(request: PageRequest) -> Answer:
    """Change the settings of a team: those fields that say something else than before."""
    name, form = request.exchange.path_parameters["name"], request.form
    team = await request.call("GET /teams/{name}", path={"name": name})
    settings = changed_settings("team", team, form.values)
    try:
        if settings:
            body = {**settings, **form.filled("reason")}
            await request.call("PATCH /teams/{name}", path={"name": name}, body=body)
    except Refusal as refusal:
        return await team_page(request, name, form.failed(refusal), status=refusal.status)
    return SeeOther(path_of(name))


async def pause(request: PageRequest) -> Answer:
    """Stop a team's purchases, or allow them again: the button says which."""
    name, form = request.exchange.path_parameters["name"], request.form
    route = "POST /resume" if form.text("action") == "resume" else "POST /pause"
    await request.call(route, body={"team": name, **form.filled("reason")})
    return SeeOther(path_of(name))


def path_of(team: str) -> str:
    return f"{PATH}/{quote(team, safe='')}"


async def team_page(
    request: PageRequest,
    name: str,
    form: Form = EMPTY,
    *,
    key_form: Form = EMPTY,
    status: int = 200,
) -> Answer:
    """The page of a team, with the form that has failed: that of its settings, or of a new key."""
    page = {"limit": str(SHOWN), "after": request.query.get("after", ""), "team": name}
    team = await request.call("GET /teams/{name}", path={"name": name})
    keys = await request.call("GET /keys", query=page)
    values = {
        "form": form,
        "key_form": key_form,
        "team": team,
        "used": _used(team),
        "fields": setting_fields("team", team),
        "key_fields": setting_fields("key", {}),
        "keys": [{**key, "used": _used(key)} for key in keys["data"]],
        "next": keys["next"],
        "path": path_of(name),
    }
    return Rendered("team.html", values, status)


async def _list(request: PageRequest, form: Form, status: int = 200) -> Answer:
    page = {"limit": str(SHOWN), "after": request.query.get("after", "")}
    teams = await request.call("GET /teams", query=page)
    settings = request.context.settings.new_team
    rows = [{**team, "used": _used(team), "path": path_of(team["name"])} for team in teams["data"]]
    return Rendered(
        "teams.html",
        {"form": form, "teams": rows, "next": teams["next"], "has_defaults": settings.budget_nanos},
        status,
    )


def _used(account: Json) -> float | None:
    """The used part of an account's budget; None where it has no limit."""
    budget = account["budget"]
    return None if budget["limit_usd"] is None else used_share(budget)
