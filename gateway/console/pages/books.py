"""Books: reconcile a statement, estimated calls, close a month, take back, export."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from gateway.api.admin.books import BOUNDS
from gateway.api.admin.request_input import parsed_query
from gateway.api.admin.routes import ROUTES
from gateway.console.forms import Form
from gateway.console.page import Answer, PageRequest, Rendered, SeeOther
from gateway.console.statement_form import packed, unpacked, uploaded_file
from gateway.model.errors import Refusal
from gateway.model.windows import days_before
from gateway.queries.models.read_model import Json

PATH = "/console/books"
SHOWN = 100
_TEXTS = (
    "upstream", "period", "granularity", "numbers", "dates", "encoding", "title_lines", "edge",
    "duplicates", "allow_change", "reason",
)  # fmt: skip
_LISTS = ("column", "where", "rate")
_AS_SET = ("", "as in the settings")
CHOICES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "granularity": (
        _AS_SET,
        ("call", "a call"),
        ("day", "a day's sum"),
        ("month", "a month's sum"),
    ),
    "numbers": (_AS_SET, ("plain", "0.04"), ("us", "$1,234.50"), ("german", "1.234,50")),
    "dates": (_AS_SET, ("iso", "2026-11-30"), ("us", "11/30/2026"), ("german", "30.11.2026")),
    "encoding": (_AS_SET, ("utf-8", "UTF-8"), ("utf-16", "UTF-16"), ("windows-1252", "Windows")),
    "duplicates": (("refuse", "are refused"), ("once", "count once"), ("add", "all count")),
}


async def show(request: PageRequest) -> Answer:
    return await _page(request, Form())


async def reconcile(request: PageRequest) -> Answer:
    """Preview a statement; with the preview's name, book it."""
    form = Form({"statement": "", **request.form.values})
    try:
        statement = await _statement(request)
        asked = {
            **form.filled(*_TEXTS),
            **{name: tuple(form.text(name).split("\n")) for name in _LISTS if form.text(name)},
        }
        if confirmed := form.text("confirm"):
            asked["confirm"] = confirmed
        found = await request.call("POST /ledger/reconcile", query=asked, upload=statement)
    except Refusal as refusal:
        if refusal.status >= 500:
            raise
        return await _page(request, form.failed(refusal), refusal.status)
    if found["applied"]:
        return SeeOther(f"{PATH}?booked={found['batch']}")
    kept = await asyncio.to_thread(packed, statement)
    fields = [(name, form.text(name)) for name in (*_TEXTS, *_LISTS) if form.text(name)]
    percents = [each["allow_change"] for each in found["refused"]]
    values = {
        "form": form,
        "found": found,
        "packed": kept,
        "fields": [each for each in fields if each[0] not in ("reason", "allow_change")],
        "may_allow": bool(percents) and None not in percents,
        "allow_change": max((each for each in percents if each), default=None),
    }
    return Rendered("reconciliation.html", values)


async def correct(request: PageRequest) -> Answer:
    """State what an estimated call cost."""
    form = request.form
    return await _changed(
        request, "POST /ledger/corrections", form.filled("request_id", "cost_usd", "reason")
    )


async def close(request: PageRequest) -> Answer:
    """Close a month."""
    form = request.form
    body: dict[str, Any] = {**form.filled("period", "reason")}
    if form.text("force_with_estimates"):
        body["force_with_estimates"] = True
    return await _changed(request, "POST /ledger/closings", body)


async def undo(request: PageRequest) -> Answer:
    """Say what would be taken back; once confirmed, take it back."""
    form, route = request.form, "POST /ledger/batches/{id}/undo"
    path, confirmed = {"id": form.text("id")}, bool(form.text("confirm"))
    body = {**form.filled("reason"), "dry_run": not confirmed}
    try:
        found = await request.call(route, path=path, body=body)
    except Refusal as refusal:
        if refusal.status >= 500:
            raise
        return await _page(request, form.failed(refusal), refusal.status)
    return SeeOther(PATH) if confirmed else Rendered("undo.html", {"form": form, "found": found})


async def export(request: PageRequest) -> Answer:
    """The rows of a month as a file."""
    route = "GET /ledger/export"
    given = {name: text for name, text in request.query.items() if text.strip()}
    try:
        query = parsed_query(given, ROUTES[route].query)
        return await request.reading(
            request.calls.download(request.visitor.holder, route, {}, query)
        )
    except Refusal as refusal:
        if refusal.status >= 500:
            raise
        form = Form({"format": "", **request.query})
        return await _page(request, form.failed(refusal), refusal.status)


async def _changed(request: PageRequest, route: str, body: Mapping[str, Any]) -> Answer:
    try:
        await request.call(route, body=body)
    except Refusal as refusal:
        if refusal.status >= 500:
            raise
        return await _page(request, request.form.failed(refusal), refusal.status)
    return SeeOther(PATH)


async def _statement(request: PageRequest) -> bytes:
    """The statement of the form. Raises `missing_field`, `invalid_field`, `body_too_large`."""
    file = b""
    if request.pictures is not None:
        file = await uploaded_file(request.pictures, BOUNDS.file_bytes)
    if not file and (text := request.form.text("packed")):
        file = unpacked(text, BOUNDS.file_bytes)
    if not file:
        raise Refusal("missing_field", "Choose the upstream's statement.", param="statement")
    return file


async def _page(request: PageRequest, form: Form, status: int = 200) -> Answer:
    today = request.parts.budgets.service.today
    first = f"{int(today[:4]) - 1}{today[4:8]}01"
    estimates, closings, batches = await asyncio.gather(
        request.call(
            "GET /ledger",
            query={"estimated": "true", "from": first, "to": today, "limit": str(SHOWN)},
        ),
        request.call("GET /ledger/closings", query={"limit": "1000"}),
        request.call("GET /ledger/batches", query={"limit": str(SHOWN)}),
    )
    values: Json = {
        "form": form,
        "booked": request.query.get("booked", ""),
        "last_month": days_before(f"{today[:8]}01", 1)[:7],
        "upstreams": [(name, name) for name in request.context.settings.every_upstream],
        "choices": CHOICES,
        "estimates": estimates["data"],
        "more_estimates": estimates["has_more"],
        "closings": closings["data"][::-1],
        "batches": batches["data"],
        "may_correct": request.visitor.may("POST /ledger/corrections"),
    }
    return Rendered("books.html", values, status)
