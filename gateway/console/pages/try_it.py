"""Try it: an edit from the browser, by the pipeline that every client's edits take.

A form alone gets a page with the result. The script sends the same form to `/console/try/edits`,
where the answer is that of `/v1/images/edits`, with partial pictures as they come.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

from gateway.api.admin.token_holder import Role
from gateway.api.images import ImageEndpoints, Sent
from gateway.api.sandbox import HEADER
from gateway.console.forms import Form
from gateway.console.page import Answer, PageRequest, Rendered, SentAlready
from gateway.console.page_edit import DRY_RUN, make_edit, new_record, of_person
from gateway.console.payer import PayingKey, payer_of
from gateway.console.picture_addresses import shown_pictures
from gateway.console.sessions import CONSOLE_KEY
from gateway.edits.edit_request import Reply
from gateway.edits.quotation import Quotation
from gateway.model.errors import Refusal
from gateway.model.money import usd
from gateway.queries.model_list import offered_models
from gateway.queries.models.quote import quote_document
from gateway.queries.rules.snippets import KEY, edit_command
from gateway.telemetry.request_record import RequestRecord
from gateway.wire.cache_status import CACHE_WORDS

_PASSED = ("content-type", "content-length", "x-gateway-dry-run")
_PICTURES = "image[]"


async def show(request: PageRequest) -> Answer:
    names = ("model", "team")
    form = Form({"prompt": "", **{name: request.query.get(name, "") for name in names}})
    return Rendered("try_it.html", await _page(request, form))


async def quote(request: PageRequest) -> Answer:
    """What the edit would get and cost; nothing is bought."""
    return await _submit(request, DRY_RUN)


async def submit(request: PageRequest) -> Answer:
    """Make the edit, and show the page with its result."""
    return await _submit(request, {})


async def send(request: PageRequest) -> Answer:
    """Make the edit for the script, which takes it as a client does."""
    payer = await payer_of(request, request.form.text("team"))
    images = ImageEndpoints(payer.parts)
    if payer.caller.sandbox:
        request.exchange.added_headers.append(HEADER)
    request.exchange.added_headers.append((b"x-content-type-options", b"nosniff"))
    headers = of_person(_headers(request), payer)
    sent = Sent(headers, lambda: _pictures(request), payer.caller)
    await images.edit_for(request.exchange, sent)
    return SentAlready()


async def _submit(request: PageRequest, more: Mapping[str, str]) -> Answer:
    form = _form(request)
    try:
        payer = await payer_of(request, form.text("team"))
        record = new_record(request)
        headers = {**_headers(request), **more}
        found = await make_edit(request, payer, headers, lambda: _pictures(request), record)
        if isinstance(found, Quotation) and found.refusal and found.refusal.param:
            raise found.refusal
    except Refusal as refusal:
        if (refusal.param or "").startswith("image"):
            refusal = replace(refusal, param=_PICTURES)
        return Rendered("try_it.html", await _page(request, form.failed(refusal)), refusal.status)
    shown = (
        {"quote": quote_document(found)}
        if isinstance(found, Quotation)
        else {"result": await _result(request, payer, found, record)}
    )
    return Rendered("try_it.html", {**await _page(request, form), **shown})


def _form(request: PageRequest) -> Form:
    """What was typed, with every field that the page has."""
    values = {"team": "", "model": "", "prompt": "", _PICTURES: "", **request.form.values}
    if request.visitor.holder.role is not Role.ADMIN:
        del values["team"]
    return Form(values)


def _headers(request: PageRequest) -> dict[str, str]:
    """The headers of the browser that concern an edit."""
    sent = request.exchange.headers
    return {name: sent[name] for name in _PASSED if name in sent}


def _pictures(request: PageRequest) -> AsyncIterator[bytes]:
    if request.pictures is None:
        raise Refusal("invalid_field", "Send the form with its pictures.", param=_PICTURES)
    return request.pictures


async def _page(request: PageRequest, form: Form) -> dict[str, Any]:
    visitor, parts = request.visitor, request.parts
    teams: list[str] = []
    if visitor.holder.role is Role.ADMIN:
        found = await request.call("GET /teams", query={"limit": "1000"})
        teams = [team["name"] for team in found["data"]]
    accounts = visitor.caller.accounts if visitor.caller else ()
    await parts.catalogues.ensure_loaded()
    today = parts.budgets.service.today
    offered = offered_models(parts.catalogues, request.context.prices, today, accounts)
    models = [each for each in offered if each.can_edit]
    model = form.text("model") or (models[0].name if models else "MODEL")
    url = f"{request.base_url}/v1"
    return {
        "form": form,
        "teams": teams,
        "models": models,
        "console_key": CONSOLE_KEY,
        "key_word": KEY,
        "command": edit_command(url, KEY, model, form.text("prompt") or "make it grey"),
        "edits_url": f"{url}/images/edits",
        "quote": None,
        "result": None,
    }


async def _result(
    request: PageRequest, payer: PayingKey, reply: Reply, record: RequestRecord
) -> dict[str, Any]:
    """The result beside the form; its picture is shown where it is stored."""
    stored = await payer.parts.cache.results.get(record.fingerprint)
    pictures = await asyncio.to_thread(shown_pictures, stored, request.visit) if stored else []
    return {
        "pictures": pictures,
        "outcome": CACHE_WORDS[reply.cache.outcome] if reply.cache else "",
        "cost_usd": None if record.cost_nanos is None else usd(record.cost_nanos),
        "saved_usd": usd(record.saved_nanos),
        "request_id": record.request_id,
    }
