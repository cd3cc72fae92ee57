"""Operations: upstreams, queue, cache and state, prices to confirm, people, settings, audit."""

from __future__ import annotations

import asyncio
from urllib.parse import urlencode

from gateway.console.forms import Form
from gateway.console.page import Answer, PageRequest, Rendered, SeeOther
from gateway.database.migrate import schema_version
from gateway.model.errors import Refusal
from gateway.model.units import time_text
from gateway.queries.models.read_model import Json
from gateway.runtime.backends import VERSION
from gateway.runtime.services import UpstreamServices
from gateway.settings.in_force import settings_in_force

PATH = "/console/operations"
SHOWN_CHANGES = 100


async def show(request: PageRequest) -> Answer:
    return await _page(request, Form())


async def confirm_price(request: PageRequest) -> Answer:
    """Confirm a model's price; its calls are made again."""
    form = request.form
    try:
        await request.call(
            "POST /prices/confirm", body=form.filled("upstream", "model", "price_usd", "reason")
        )
    except Refusal as refusal:
        return await _page(request, form.failed(refusal), refusal.status)
    return SeeOther(f"{PATH}#prices")


async def sign_out(request: PageRequest) -> Answer:
    """Sign a person out now, in every browser."""
    await request.reading(request.sessions.end_all_of(request.form.text("actor"), request.visitor))
    return SeeOther(f"{PATH}#people")


async def show_settings(request: PageRequest) -> Answer:
    return Rendered("settings.html", {"settings": settings_in_force(request.context.settings)})


async def show_audit(request: PageRequest) -> Answer:
    form, status = Form({"subject": "", "after": "", **request.query}), 200
    subject = form.filled("subject")
    query = {"latest": "true", "limit": str(SHOWN_CHANGES), **subject, **form.filled("after")}
    try:
        found = await request.call("GET /audit", query=query)
    except Refusal as refusal:
        if refusal.status >= 500:
            raise
        form, found, status = form.failed(refusal), {"data": [], "next": None}, refusal.status
    older = found["next"] and urlencode({**subject, "after": found["next"]})
    values = {"form": form, "changes": found["data"], "older": older}
    return Rendered("audit.html", values, status)


async def _page(request: PageRequest, form: Form, status: int = 200) -> Answer:
    parts, context = request.parts, request.context
    prices, cache, people, schema = await asyncio.gather(
        request.call("GET /prices", query={"limit": "1000"}),
        request.reading(parts.cache.results.local_stats()),
        request.reading(request.sessions.people()),
        request.reading(context.database.read(schema_version)),
    )
    values = {
        "form": form,
        "version": VERSION,
        "schema": schema,
        "state_url": context.settings.state.printable_url,
        "degraded": parts.operation.readiness.degraded(),
        "upstreams": [_upstream(each) for each in parts.upstreams.values()],
        "in_flight": parts.coalescing.flights.in_flight,
        "followers": parts.coalescing.flights.followers,
        "workers": context.settings.server.workers,
        "started": time_text(context.owner.started_ms),
        "cache": cache,
        "cache_url": context.settings.cache.url,
        "most_bytes": context.settings.cache.max_bytes,
        "prices": prices["data"],
        "people": [
            {"actor": each.actor, "at": time_text(each.signed_in_ms), "sessions": each.sessions}
            for each in people
        ],
        "may_confirm": request.visitor.may("POST /prices/confirm"),
        "may_sign_out": request.visitor.may("DELETE /tokens/{id}"),
    }
    return Rendered("operations.html", values, status)


def _upstream(upstream: UpstreamServices) -> Json:
    """What this process knows of an upstream."""
    limiter, client, settings = upstream.limiter, upstream.client, upstream.settings
    listing, health = upstream.catalogue.listing, limiter.health
    return {
        "name": settings.name,
        "api": settings.api,
        "base_url": settings.base_url,
        "problems": limiter.degradations,
        "waiting": limiter.queue.waiting,
        "is_full": limiter.is_full,
        "slots": settings.max_connections,
        "refused_keys": client.refused_keys,
        "key_count": client.keys,
        "models": len(listing.items) if listing else None,
        "answered_at": time_text(health.answered_ms) if health.answered_ms else "",
        "failed_at": time_text(health.failed_ms) if health.failed_ms else "",
    }
