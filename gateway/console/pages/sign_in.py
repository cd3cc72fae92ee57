"""Sign-in with a token or a key that is pasted once, and sign-out."""

from __future__ import annotations

import re

from gateway.console.forms import Form
from gateway.console.page import Answer, PageRequest, Rendered, SeeOther
from gateway.model.errors import Refusal

PATH = "/console/sign-in"
_OWN_PATH = re.compile(r"/console(/[A-Za-z0-9._~-]+)*(\?[A-Za-z0-9._~%&=:,+/-]*)?")


async def show(request: PageRequest) -> Answer:
    path = path_after(request.query.get("next", ""))
    if request.visit.visitor is not None:
        return SeeOther(path)
    return await _form(request, Form({"next": path}))


async def submit(request: PageRequest) -> Answer:
    secret, path = request.form.text("secret"), path_after(request.form.text("next"))
    try:
        if not secret:
            raise Refusal("missing_field", "Paste an admin token or an API key.", param="secret")
        begun = await request.sessions.begin(secret, request.visit, request.exchange.address)
    except Refusal as refusal:
        kept = Form({"next": path, "secret": ""})
        return await _form(request, kept.failed(refusal), refusal.status)
    return SeeOther(path, cookie=begun.cookie)


async def sign_out(request: PageRequest) -> Answer:
    await request.sessions.end(request.visit, request.visitor)
    return SeeOther(f"{PATH}?out=1" if request.visit.is_person else "/")


async def _form(request: PageRequest, form: Form, status: int = 200) -> Answer:
    provider, context = request.sessions.provider, request.context
    end_there = ""
    if provider and "out" in request.query:
        back_to = f"{request.base_url}{PATH}"
        end_there = await provider.sign_out_url(back_to, context.clock())
    values = {
        "form": form,
        "sso": context.settings.sso.name if provider else "",
        "signed_out": "out" in request.query,
        "end_there": end_there,
    }
    return Rendered("sign_in.html", values, status, cookie=request.visit.cookie)


def path_after(given: str) -> str:
    """The page to go on to: one of the console, never another site's."""
    return given if _OWN_PATH.fullmatch(given) else "/console"
