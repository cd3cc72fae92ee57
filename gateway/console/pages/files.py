"""The files and thumbnails of pictures, for pages of the same session."""

from __future__ import annotations

import asyncio

from gateway.api.pictures import GONE, SAFETY, PictureEndpoints
from gateway.console.page import Answer, PageRequest, SentAlready
from gateway.console.picture_addresses import check_thumbnail, picture_asked
from gateway.model.errors import Refusal
from gateway.wire.pictures import picture_at

KEPT_MS = 300_000
"""A browser asks again after this time, so that a purge is soon seen."""


async def show_thumbnail(request: PageRequest) -> Answer:
    """The first picture of a result, made small."""
    fingerprint = request.exchange.path_parameters["id"]
    check_thumbnail(fingerprint, request.query, request.visit)
    stored = await request.parts.cache.results.get(fingerprint)
    if stored is None:
        raise Refusal("picture_gone", GONE)
    name, thumbnails = stored.entry.body_digest, request.thumbnails
    made = thumbnails.kept(name)
    if made is None:
        picture = await asyncio.to_thread(picture_at, stored.body, 0)
        made = await thumbnails.make(name, picture) if picture else None
    if made is None:
        raise Refusal("picture_gone", "No thumbnail can be made of this picture.")
    headers = {
        "content-type": "image/webp",
        "cache-control": f"private, max-age={KEPT_MS // 1000}",
        **SAFETY,
    }
    await request.exchange.answer(200, headers, made)
    return SentAlready()


async def show(request: PageRequest) -> Answer:
    picture = picture_asked(request.exchange.path_parameters["id"], request.query, request.visit)
    parts, now_ms = request.parts, request.context.clock
    cache = parts.cache
    endpoints = PictureEndpoints(cache.links, cache.results, cache.answers.store, now_ms)
    saved = "download" in request.query
    await endpoints.send(request.exchange, picture, until_ms=now_ms() + KEPT_MS, saved=saved)
    return SentAlready()
