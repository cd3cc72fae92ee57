"""The files of pictures, for pages of the same session; sent as signed links are."""

from __future__ import annotations

from gateway.api.pictures import PictureEndpoints
from gateway.console.page import Answer, PageRequest, SentAlready
from gateway.console.picture_addresses import picture_asked

KEPT_MS = 300_000
"""A browser asks again after this time, so that a purge is soon seen."""


async def show(request: PageRequest) -> Answer:
    picture = picture_asked(request.exchange.path_parameters["id"], request.query, request.visit)
    parts, now_ms = request.parts, request.context.clock
    endpoints = PictureEndpoints(parts.cache.links, parts.cache.results, now_ms)
    saved = "download" in request.query
    await endpoints.send(request.exchange, picture, until_ms=now_ms() + KEPT_MS, saved=saved)
    return SentAlready()
