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
    "duplicates",
)  # fmt: skip
_OF_BOOKING = ("allow_change", "reason")
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
    form, status = Form({"statement": "", **request.form.values}), 200
    route, confirmed = "POST /ledger/reconcile", form.text("confirm")
    try:
        statement = await _statement(request)
        asked: dict[str, Any] = {
            **form.filled(*_TEXTS),
            **{name: tuple(form.text(name).split("\n")) for name in _LISTS if form.text(name)},
        }
        if confirmed:
            booking = {**asked, **form.filled(*_OF_BOOKING), "confirm": confirmed}
            try:
                booked = await request.call(route, query=booking, upload=statement)
                return SeeOther(f"{PATH}?booked={booked['batch']}")
            except Refusal as refusal:
                form, status = _failed(form, refusal), refusal.status
        found = await request.call(route, query=asked, upload=statement)
    except Refusal as refusal:
        return await _page(request, _failed(form, refusal), refusal.status)
    kept = await asyncio.to_thread(packed, statement)
    fields = [(name, form.text(name)) for name in (*_TEXTS, *_LISTS) if form.text(name)]
    percents = [each["allow_change"] for each in found["refused"]]
    values = {
        "form": form,
        "found": found,
        "packed": kept,
        "fields": fields,
        "may_allow": bool(percents) and None not in percents,
        "allow_change": max((each for each in percents if each), default=None),
    }
    return Rendered("reconciliation.html", values, status)


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
    form, status, route = request.form, 200, "POST /ledger/batches/{id}/undo"
    path = {"id": form.text("id")}
    try:
        if form.text("confirm"):
            body = {**form.filled("reason"), "dry_run": False}
            await request.call(route, path=path, body=body)
            return SeeOther(PATH)
    except Refusal as refusal:
        form, status = _failed(form, refusal), refusal.status
    try:
        found = await request.call(route, path=path, body={"dry_run": True})
    except Refusal as refusal:
        return await _page(request, _failed(form, refusal), refusal.status)
    return Rendered("undo.html", {"form": form, "found": found}, status)


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
        form = Form({"format": "", **request.query})
        return await _page(request, _failed(form, refusal), refusal.status)


async def _changed(request: PageRequest, route: str, body: Mapping[str, Any]) -> Answer:
    try:
        await request.call(route, body=body)
    except Refusal as refusal:
        return await _page(request, _failed(request.form, refusal), refusal.status)
    return SeeOther(PATH)


def _failed(form: Form, refusal: Refusal) -> Form:
    """The form with what is wrong with it. Raises a refusal that is not about it."""
    if refusal.status >= 500:
        raise refusal
    return form.failed(refusal)


async def _statement(request: PageRequest) -> bytes:
    """The statement of the form. Raises `missing_field`, `invalid_field`, `body_too_large`."""
    file = b""
    if request.pictures is not None:
        file = await uploaded_file(request.pictures, BOUNDS.file_bytes)
    if not file and (text := request.form.text("packed")):
        file = await asyncio.to_thread(unpacked, text, BOUNDS.file_bytes)
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
