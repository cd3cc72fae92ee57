"""Keys: made and rotated with the secret shown once, changed, revoked."""

from __future__ import annotations

from gateway.console.forms import Form
from gateway.console.page import Answer, PageRequest, Rendered, SeeOther
from gateway.console.pages.account_forms import change_of, forms_of
from gateway.console.pages.front_page import model_of_snippets
from gateway.console.pages.teams import path_of, team_page
from gateway.console.rules.settings_form import changed_settings, setting_fields
from gateway.model.errors import Refusal
from gateway.queries.models.read_model import Json
from gateway.queries.rules.snippets import snippets

GRACES = (("86400", "a day"), ("604800", "a week"), ("3600", "an hour"), ("0", "no longer"))


async def create(request: PageRequest) -> Answer:
    """A new key of a team."""
    team, form = request.exchange.path_parameters["name"], request.form
    settings = changed_settings("key", {}, form.values)
    try:
        body = {"team": team, "name": form.text("name"), **settings}
        made = await request.call("POST /keys", body=body)
    except Refusal as refusal:
        return await team_page(request, team, refusal.status, key=form.failed(refusal))
    return _secret(request, made)


async def show(request: PageRequest) -> Answer:
    return await _page(request)


async def update(request: PageRequest) -> Answer:
    path = _path(request)
    key = await request.call("GET /keys/{id}", path=path)
    try:
        if body := change_of(request, "key", key):
            await request.call("PATCH /keys/{id}", path=path, body=body)
    except Refusal as refusal:
        return await _page(request, refusal.status, settings=request.form.failed(refusal))
    return SeeOther(f"/console/keys/{path['id']}")


async def rotate(request: PageRequest) -> Answer:
    """Give the key a new secret; the old one stays valid for a while."""
    body = request.form.filled("grace", "reason")
    try:
        made = await request.call("POST /keys/{id}/rotate", path=_path(request), body=body)
    except Refusal as refusal:
        return await _page(request, refusal.status, rotate=request.form.failed(refusal))
    return _secret(request, made)


async def revoke(request: PageRequest) -> Answer:
    reason = request.form.filled("reason")
    try:
        key = await request.call("DELETE /keys/{id}", path=_path(request), query=reason)
    except Refusal as refusal:
        return await _page(request, refusal.status, revoke=request.form.failed(refusal))
    return SeeOther(path_of(key["team"]))


def _path(request: PageRequest) -> dict[str, str]:
    return {"id": request.exchange.path_parameters["id"]}


async def _page(request: PageRequest, status: int = 200, **failed: Form) -> Answer:
    key = await request.call("GET /keys/{id}", path=_path(request))
    values = {
        "forms": forms_of("settings", "rotate", "revoke", **failed),
        "key": key,
        "fields": setting_fields("key", key),
        "graces": GRACES,
        "team_path": path_of(key["team"]),
    }
    return Rendered("key.html", values, status)


def _secret(request: PageRequest, made: Json) -> Answer:
    """The secret of a key, this once, with the snippets that use it."""
    base_url, secret = f"{request.base_url}/v1", made["secret"]
    values = {
        "key": made,
        "snippets": snippets(base_url, secret, model_of_snippets(request, made["models"])),
        "team_path": path_of(made["team"]),
    }
    return Rendered("new_key.html", values)
