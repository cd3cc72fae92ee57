"""Pictures: the stored results of a team as a gallery, and each on a page of its own.

Whose results a visitor sees is decided here, once: `_viewer`. Addresses of files and thumbnails
come from pages that have asked it.
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote, urlencode

from gateway.accounts.tables.audit import Author, append
from gateway.api.admin.token_holder import Role
from gateway.api.pictures import refusal_of_missing
from gateway.cache.result_store import Stored
from gateway.console.page import Answer, PageRequest, Rendered, SeeOther
from gateway.console.picture_addresses import ShownPicture, shown_pictures, thumbnail_address
from gateway.console.sessions import CONSOLE_KEY
from gateway.edits.presentation import media_type_of
from gateway.gallery.rules.sent_edit import KeptInputs, read_back
from gateway.gallery.tables import gallery
from gateway.gallery.tables.gallery import Order, ShownResult, Viewer
from gateway.model.errors import Refusal
from gateway.model.money import usd
from gateway.model.units import time_text

PATH = "/console/pictures"
ON_A_PAGE = 24
MOST_PAGES = 400
ORDERS: tuple[Order, ...] = ("newest", "most used")
_NOBODY = "-"


async def show(request: PageRequest) -> Answer:
    """The gallery; where it is off, how to switch it on."""
    if not request.parts.cache.gallery.enabled:
        return Rendered("pictures.html", {"enabled": False})
    query = request.query
    order: Order = "most used" if query.get("order") == "most used" else "newest"
    number = int(text) if (text := query.get("page", "1")).isdecimal() and len(text) < 4 else 1
    number = max(1, min(number, MOST_PAGES))
    team = query.get("team", "") if request.visitor.holder.role is Role.ADMIN else ""
    viewer, now_ms = _viewer(request, team), request.context.clock()
    rows = await request.context.database.read(
        lambda tx: gallery.listed(
            tx, viewer, now_ms, order, offset=(number - 1) * ON_A_PAGE, limit=ON_A_PAGE + 1
        )
    )
    kept = {"team": team, "order": order}

    def page_link(page: int) -> str:
        return f"?{urlencode({**kept, 'page': page})}"

    return Rendered(
        "pictures.html",
        {
            "enabled": True,
            "results": [_facts(request, row) for row in rows[:ON_A_PAGE]],
            "orders": [(each, f"?{urlencode({**kept, 'order': each})}") for each in ORDERS],
            "order": order,
            "team": team,
            "teams": await _teams(request),
            "before": page_link(number - 1) if number > 1 else "",
            "after": page_link(number + 1) if len(rows) > ON_A_PAGE else "",
            "whose": _whose(request),
        },
    )


async def show_one(request: PageRequest) -> Answer:
    return await picture_page(request)


async def share(request: PageRequest) -> Answer:
    """Links that anyone who holds them can open until they expire."""
    links, now_ms = request.parts.cache.links, request.context.clock()
    if not (links.enabled and links.share_seconds):
        raise Refusal("permission_denied", "This gateway makes no links that open without sign-in.")
    row = await found_result(request)
    _, pictures = await _stored(request, row)
    try:
        urls = [links.url_to_share(each.id, media_type_of(each.id.ending)) for each in pictures]
    except KeyError:
        raise Refusal("state_unavailable", "No link can be signed now: try again.") from None
    until_ms = min(now_ms + int(links.share_seconds * 1000), row.expires_ms)
    by = Author(request.visitor.holder.actor, now_ms)
    facts: dict[str, object] = {"team": row.team, "until": time_text(until_ms)}
    await request.context.database.write(
        lambda tx: append(tx, by, "picture.share", row.fingerprint, {}, facts)
    )
    return await picture_page(request, shared=urls, shared_until=time_text(until_ms))


async def purge(request: PageRequest) -> Answer:
    """Delete one result, or everything made from one of its reference images."""
    row = await found_result(request)
    stored = await request.parts.cache.results.get(row.fingerprint)
    containing = request.form.text("containing")
    body = {"team": row.team, "fingerprint": row.fingerprint}
    if containing:
        if stored is None or containing not in stored.entry.references:
            raise Refusal("invalid_field", "This picture was not made from that one.", "containing")
        body = {"team": row.team, "containing": containing}
    await request.call("POST /cache/purge", body={**body, "reason": "in the console"})
    return SeeOther(PATH)


async def picture_page(request: PageRequest, status: int = 200, **more: Any) -> Answer:
    row = await found_result(request)
    stored, pictures = await _stored(request, row)
    links = request.parts.cache.links
    kept = await request.parts.cache.inputs.find(row.fingerprint)
    inputs = await asyncio.to_thread(read_back, kept.body) if kept else KeptInputs((), ())
    versions = await versions_of(request, row)
    values = {
        "it": _facts(request, row),
        "pictures": pictures,
        "prompt": inputs.prompt,
        "sent": await asyncio.to_thread(shown_pictures, kept, request.visit) if kept else [],
        "keeping": request.parts.cache.inputs.keeping(
            request.parts.authenticator.keep_inputs_of(row.team)
        ),
        "versions": [_facts(request, each) for each in versions] if len(versions) > 1 else [],
        "references": stored.entry.references,
        "may_purge": request.visitor.may("POST /cache/purge"),
        "share_seconds": links.share_seconds if links.enabled else 0,
        "shared": [],
        "quote": None,
        "variant": "",
        "link_to_share": f"{request.base_url}{path_of(row.fingerprint)}",
    }
    return Rendered("picture.html", {**values, **more}, status)


async def _stored(request: PageRequest, row: ShownResult) -> tuple[Stored, list[ShownPicture]]:
    """The result of a row, and its pictures. Raises `picture_gone`, `results_unavailable`."""
    results = request.parts.cache.results
    stored = await results.get(row.fingerprint)
    if stored is None:
        raise refusal_of_missing(results)
    return stored, await asyncio.to_thread(shown_pictures, stored, request.visit)


async def versions_of(request: PageRequest, row: ShownResult) -> list[ShownResult]:
    """The versions of a result that the visitor may see."""
    viewer, now_ms = _viewer(request), request.context.clock()
    return await request.context.database.read(lambda tx: gallery.versions(tx, row, viewer, now_ms))


async def found_result(request: PageRequest) -> ShownResult:
    """The result of the path. One answer for what is unknown and for what is another's."""
    fingerprint = request.exchange.path_parameters["fingerprint"]
    now_ms, viewer = request.context.clock(), _viewer(request)
    found = None
    if request.parts.cache.gallery.enabled:
        found = await request.context.database.read(
            lambda tx: gallery.find(tx, fingerprint, viewer, now_ms)
        )
    if found is None:
        raise Refusal("not_found", "There is no such picture among those that you may see.")
    return found


def _viewer(request: PageRequest, team: str = "") -> Viewer:
    """Whose results the visitor may see: an administrator all, others their team's.

    Where results are shared by nobody but their key, that key's alone.
    """
    visitor, settings = request.visitor, request.context.settings
    if visitor.holder.role is Role.ADMIN:
        return Viewer(team)
    own = visitor.holder.team or _NOBODY
    if settings.cache.scope != "key":
        return Viewer(own)
    if visitor.caller is not None:
        return Viewer(own, visitor.caller.key_id)
    return Viewer(own, request.parts.authenticator.key_named(own, CONSOLE_KEY) or _NOBODY)


def _whose(request: PageRequest) -> str:
    viewer = _viewer(request)
    if viewer.key_id:
        return "of your key"
    return f"of the team {viewer.team}" if viewer.team else "of all teams"


def path_of(fingerprint: str) -> str:
    """The page of a result."""
    return f"{PATH}/{quote(fingerprint, safe='')}"


def _facts(request: PageRequest, row: ShownResult) -> dict[str, Any]:
    return {
        "path": path_of(row.fingerprint),
        "thumbnail": thumbnail_address(row.fingerprint, request.visit),
        "fingerprint": row.fingerprint,
        "model": row.model,
        "team": row.team,
        "key": f"{row.team}/{row.key_name}",
        "end_user": row.end_user,
        "request_id": row.request_id,
        "cost_usd": None if row.cost_nanos is None else usd(row.cost_nanos),
        "saved_usd": usd(row.saved_nanos),
        "uses": row.uses,
        "created_at": time_text(row.created_ms),
        "stored_until": time_text(row.expires_ms),
    }


async def _teams(request: PageRequest) -> list[str]:
    if request.visitor.holder.role is not Role.ADMIN:
        return []
    found = await request.call("GET /teams", query={"limit": "1000"})
    return [team["name"] for team in found["data"]]
