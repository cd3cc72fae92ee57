"""The files and thumbnails of pictures, for pages of the same session."""

from __future__ import annotations

import asyncio

from gateway.api.pictures import SAFETY, PictureEndpoints, refusal_of_missing
from gateway.console.page import Answer, PageRequest, SentAlready
from gateway.console.payer import parts_of
from gateway.console.picture_addresses import check_thumbnail, picture_asked
from gateway.wire.pictures import picture_at

KEPT_MS = 300_000
"""A browser asks again after this time, so that a purge is soon seen."""
_WORDS = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="240" height="180" viewBox="0 0 240 180">'
    '<text x="120" y="95" text-anchor="middle" font-family="sans-serif" font-size="15" '
    'fill="#808080">{}</text></svg>'
)


async def show_thumbnail(request: PageRequest) -> Answer:
    """The first picture of a result, made small."""
    fingerprint = request.exchange.path_parameters["id"]
    check_thumbnail(fingerprint, request.query, request.visit)
    stored = await request.parts.cache.results.get(fingerprint)
    if stored is None:
        code = refusal_of_missing(request.parts.cache.results).code
        is_gone = code == "picture_gone"
        return await _send_words(request, "No longer stored" if is_gone else "Not readable now")
    name, thumbnails = stored.entry.body_digest, request.thumbnails
    del stored

    async def read() -> bytes | None:
        found = await request.parts.cache.results.get(fingerprint)
        return await asyncio.to_thread(picture_at, found.body, 0) if found else None

    made = thumbnails.kept(name) or await thumbnails.make(name, read)
    if made is None:
        return await _send_words(request, "No preview")
    headers = {
        "content-type": "image/webp",
        "cache-control": f"private, max-age={KEPT_MS // 1000}",
        **SAFETY,
    }
    await request.exchange.answer(200, headers, made)
    return SentAlready()


async def _send_words(request: PageRequest, words: str) -> Answer:
    """In the place of a thumbnail, why there is none. The store may have it again later."""
    headers = {"content-type": "image/svg+xml", "cache-control": "no-store", **SAFETY}
    await request.exchange.answer(200, headers, _WORDS.format(words).encode())
    return SentAlready()


async def show(request: PageRequest) -> Answer:
    picture = picture_asked(request.exchange.path_parameters["id"], request.query, request.visit)
    parts, now_ms = request.parts, request.context.clock
    if await parts.cache.results.get(picture.key) is None:
        parts = await parts_of(request, request.visitor.caller)
    cache = parts.cache
    endpoints = PictureEndpoints(cache.links, cache.results, cache.answers.store, now_ms)
    saved = "download" in request.query
    await endpoints.send(request.exchange, picture, until_ms=now_ms() + KEPT_MS, saved=saved)
    return SentAlready()
