"""Budgets: every one with what is left, requests for more, and grants."""

from __future__ import annotations

import asyncio

from gateway.console.forms import Form
from gateway.console.page import Answer, PageRequest, Rendered, SeeOther
from gateway.console.rules.attention import used_share
from gateway.model.errors import Refusal

PATH = "/console/budgets"
SHOWN = 200


async def show(request: PageRequest) -> Answer:
    return await _page(request, Form(request.query))


async def grant(request: PageRequest) -> Answer:
    """Raise a budget, or grant what was asked for."""
    form = request.form
    try:
        body = form.filled("budget", "usd", "until", "reason", "request")
        await request.call("POST /budgets/grants", body=body)
    except Refusal as refusal:
        return await _page(request, _failed(form, refusal), refusal.status)
    return SeeOther(PATH)


async def revoke(request: PageRequest) -> Answer:
    """End a grant, or decline a request."""
    form = request.form
    try:
        await request.call(
            "DELETE /budgets/grants/{id}",
            path={"id": form.text("id")},
            query=form.filled("reason"),
        )
    except Refusal as refusal:
        return await _page(request, form.failed(refusal), refusal.status)
    return SeeOther(PATH)


async def ask(request: PageRequest) -> Answer:
    """Ask for more money on a budget of the visitor's team."""
    form = request.form
    try:
        await request.call(
            "POST /budgets/requests", body=form.filled("budget", "usd", "until", "reason")
        )
    except Refusal as refusal:
        return await _page(request, _failed(form, refusal), refusal.status)
    return SeeOther(PATH)


async def _page(request: PageRequest, form: Form, status: int = 200) -> Answer:
    budgets, grants = await asyncio.gather(
        request.call(
            "GET /budgets",
            query={"limit": str(SHOWN), "after": request.query.get("after", "")},
        ),
        request.call("GET /budgets/grants", query={"limit": str(SHOWN)}),
    )
    asked = [each for each in grants["data"] if each["status"] == "asked"]
    named = request.query.get("request", "")
    return Rendered(
        "budgets.html",
        {
            "form": form,
            "budgets": [{**each, "used": used_share(each)} for each in budgets["data"]],
            "next": budgets["next"],
            "asked": sorted(asked, key=lambda each: each["id"] != named),
            "named": named,
            "grants": [each for each in grants["data"] if each["status"] == "granted"],
        },
        status,
    )


def _failed(form: Form, refusal: Refusal) -> Form:
    """The name of a budget is that of a team or a key, too."""
    return form.failed(refusal, team="budget", key="budget", account="budget")
