"""The forms of a page of an account: its settings, its pause, and those that end it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.console.forms import Form
from gateway.console.page import PageRequest
from gateway.console.rules.attention import used_share
from gateway.console.rules.settings_form import changed_settings
from gateway.model.caller import Level
from gateway.queries.models.read_model import Json

EMPTY = Form()


def forms_of(*names: str, **failed: Form) -> dict[str, Form]:
    """The forms of a page by name: empty, but for the one that failed."""
    return {**dict.fromkeys(names, EMPTY), **failed}


def change_of(request: PageRequest, level: Level, account: Mapping[str, Any]) -> dict[str, Any]:
    """The body that changes what the form changes, with the reason; empty where that is nothing."""
    settings = changed_settings(level, account, request.form.values)
    return {**settings, **request.form.filled("reason")} if settings else {}


async def pause_or_resume(request: PageRequest, body: Mapping[str, str]) -> None:
    """Stop purchases or allow them again: the button says which. Raises Refusal."""
    form = request.form
    route = "POST /resume" if form.text("action") == "resume" else "POST /pause"
    await request.call(route, body={**body, **form.filled("reason")})


def used_of(account: Json) -> float | None:
    """The used part of an account's budget; None where it has no limit."""
    budget = account["budget"]
    return None if budget["limit_usd"] is None else used_share(budget)
