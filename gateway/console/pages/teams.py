"""Teams: what each has spent and left, and one with its limits, its keys and its pause."""

from __future__ import annotations

from urllib.parse import quote

from gateway.api.admin.token_holder import Role
from gateway.console.forms import Form
from gateway.console.page import Answer, PageRequest, Rendered, SeeOther
from gateway.console.pages.account_forms import (
    EMPTY,
    change_of,
    forms_of,
    pause_or_resume,
    used_of,
)
from gateway.console.rules.settings_form import changed_settings, setting_fields
from gateway.model.errors import Refusal

PATH = "/console/teams"
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
    return await team_page(request, _name(request))


async def update(request: PageRequest) -> Answer:
    """Change the settings of a team: those fields that say something else than before."""
    name = _name(request)
    team = await request.call("GET /teams/{name}", path={"name": name})
    try:
        if body := change_of(request, "team", team):
            await request.call("PATCH /teams/{name}", path={"name": name}, body=body)
    except Refusal as refusal:
        failed = request.form.failed(refusal)
        return await team_page(request, name, refusal.status, settings=failed)
    return SeeOther(path_of(name))


async def pause(request: PageRequest) -> Answer:
    name = _name(request)
    try:
        await pause_or_resume(request, {"team": name})
    except Refusal as refusal:
        failed = request.form.failed(refusal)
        return await team_page(request, name, refusal.status, pause=failed)
    return SeeOther(path_of(name))


async def archive(request: PageRequest) -> Answer:
    """End a team: its keys stop working."""
    name, reason = _name(request), request.form.filled("reason")
    try:
        await request.call("DELETE /teams/{name}", path={"name": name}, query=reason)
    except Refusal as refusal:
        failed = request.form.failed(refusal)
        return await team_page(request, name, refusal.status, archive=failed)
    return SeeOther(PATH)


def path_of(team: str) -> str:
    return f"{PATH}/{quote(team, safe='')}"


def _name(request: PageRequest) -> str:
    return request.exchange.path_parameters["name"]


async def team_page(request: PageRequest, name: str, status: int = 200, **failed: Form) -> Answer:
    """The page of a team, with the form that has failed."""
    with_ended = "revoked" in request.query
    asked = {"team": name, "revoked": str(with_ended).lower(), **page_of(request)}
    team = await request.call("GET /teams/{name}", path={"name": name})
    keys = await request.call("GET /keys", query=asked)
    values = {
        "forms": forms_of("settings", "pause", "archive", "key", **failed),
        "team": team,
        "used": used_of(team),
        "fields": setting_fields("team", team),
        "key_fields": setting_fields("key", {}),
        "keys": [{**key, "used": used_of(key)} for key in keys["data"]],
        "next": keys["next"],
        "with_ended": with_ended,
        "path": path_of(name),
    }
    return Rendered("team.html", values, status)


async def _list(request: PageRequest, form: Form, status: int = 200) -> Answer:
    with_ended = "archived" in request.query
    asked = {"archived": str(with_ended).lower(), **page_of(request)}
    teams = await request.call("GET /teams", query=asked)
    settings = request.context.settings.new_team
    rows = [
        {**team, "used": used_of(team), "path": path_of(team["name"])} for team in teams["data"]
    ]
    values = {
        "form": form,
        "teams": rows,
        "next": teams["next"],
        "with_ended": with_ended,
        "has_defaults": settings.budget_nanos,
    }
    return Rendered("teams.html", values, status)


def page_of(request: PageRequest) -> dict[str, str]:
    """Which part of a listing is asked for."""
    return {"limit": str(SHOWN), "after": request.query.get("after", "")}
