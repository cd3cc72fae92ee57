"""The organisation: its limits, which apply to all teams together, and its pause."""

from __future__ import annotations

from gateway.console.forms import Form
from gateway.console.page import Answer, PageRequest, Rendered, SeeOther
from gateway.console.pages.account_forms import change_of, forms_of, pause_or_resume, used_of
from gateway.console.rules.settings_form import setting_fields
from gateway.model.errors import Refusal

PATH = "/console/organisation"


async def show(request: PageRequest) -> Answer:
    return await _page(request)


async def update(request: PageRequest) -> Answer:
    account = await request.call("GET /organisation")
    try:
        if body := change_of(request, "organisation", account):
            await request.call("PATCH /organisation", body=body)
    except Refusal as refusal:
        return await _page(request, refusal.status, settings=request.form.failed(refusal))
    return SeeOther(PATH)


async def pause(request: PageRequest) -> Answer:
    try:
        await pause_or_resume(request, {})
    except Refusal as refusal:
        return await _page(request, refusal.status, pause=request.form.failed(refusal))
    return SeeOther(PATH)


async def _page(request: PageRequest, status: int = 200, **failed: Form) -> Answer:
    account = await request.call("GET /organisation")
    values = {
        "forms": forms_of("settings", "pause", **failed),
        "account": account,
        "used": used_of(account),
        "fields": setting_fields("organisation", account),
        "path": PATH,
    }
    return Rendered("organisation.html", values, status)
