"""`/v1/pictures/{id}`: pictures of stored results and answers, for whoever holds a signed link."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from gateway.cache.picture_links import BadLink, PictureId, PictureLinks
from gateway.cache.result_store import ResultStore, Stored, StoreFailure
from gateway.cache.rules.entry import may_serve
from gateway.database.clock import Clock
from gateway.edits.presentation import media_type_of
from gateway.model.errors import Refusal
from gateway.server.exchange import Exchange
from gateway.wire.conditional_request import (
    ByteRange,
    RangeNotSatisfiable,
    byte_range,
    status_of_conditions,
)
from gateway.wire.pictures import picture_at

_SHOWN = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"})
"""Only these are shown in a browser; all else, such as SVG, which may hold scripts, is saved."""
SAFETY = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "sandbox; default-src 'none'",
    "referrer-policy": "no-referrer",
}
_UNREADABLE = frozenset({StoreFailure.TIMEOUT, StoreFailure.DENIED, StoreFailure.UNREACHABLE})
GONE = "This picture is no longer stored: it was purged, replaced or evicted, or has expired."


def refusal_of_missing(results: ResultStore) -> Refusal:
    """Why a store has just found nothing: it has no such result, or can't be read now."""
    if results.failure in _UNREADABLE:
        return Refusal(
            "results_unavailable",
            "The stored pictures can't be read now. Try again.",
            retry_after_seconds=2,
        )
    return Refusal("picture_gone", GONE)


@dataclass(frozen=True, slots=True)
class PictureEndpoints:
    """The signature is checked before anything is read."""

    links: PictureLinks
    results: ResultStore
    answers: ResultStore
    clock: Clock

    async def show(self, exchange: Exchange) -> None:
        try:
            picture = PictureId.parse(exchange.path_parameters["id"])
            media_type = media_type_of(picture.ending)
            expires = self.links.check(picture, media_type, exchange.query)
        except BadLink as error:
            raise Refusal("permission_denied", str(error)) from None
        await self.send(exchange, picture, until_ms=expires * 1000)

    async def send(
        self, exchange: Exchange, picture: PictureId, *, until_ms: int, saved: bool = False
    ) -> None:
        """The picture, which a browser may keep until then. Raises Refusal.

        A browser saves it as a file where `saved` says so, or its type is none of _SHOWN.
        """
        media_type = media_type_of(picture.ending)
        stored = await self._stored(picture)
        left_ms = min(until_ms, stored.entry.expires_ms) - self.clock()
        etag = f'"{picture.digest}.{picture.place}"'
        headers = {
            "etag": etag,
            "cache-control": f"private, max-age={max(0, left_ms) // 1000}",
            "accept-ranges": "bytes",
            "content-type": media_type,
            "content-disposition": _disposition(media_type, picture.ending, saved),
            **SAFETY,
        }
        match status_of_conditions(exchange.headers, etag):
            case 412:
                message = "The picture is not the one that If-Match names."
                raise Refusal("precondition_failed", message)
            case 304:
                await exchange.answer(304, headers, b"")
            case _:
                content = await asyncio.to_thread(picture_at, stored.body, picture.place)
                if content is None:
                    raise Refusal("picture_gone", GONE)
                await _answer(exchange, etag, headers, content)

    async def _stored(self, picture: PictureId) -> Stored:
        """The result that the link was made for. Raises Refusal."""
        store = self.answers if picture.is_of_answer else self.results
        stored = await store.get(picture.key)
        if stored is None:
            raise refusal_of_missing(store)
        if not picture.is_of(stored.entry.body_digest):
            raise Refusal("picture_gone", GONE)
        if not may_serve(stored.entry, self.clock()):
            raise Refusal("picture_gone", GONE)
        return stored


async def _answer(exchange: Exchange, etag: str, headers: dict[str, str], content: bytes) -> None:
    wanted = _range(exchange, etag, len(content))
    if wanted is None:
        await exchange.answer(200, headers, content)
        return
    headers["content-range"] = f"bytes {wanted.start}-{wanted.stop - 1}/{len(content)}"
    await exchange.answer(206, headers, content[wanted.start : wanted.stop])


def _range(exchange: Exchange, etag: str, size: int) -> ByteRange | None:
    if exchange.method != "GET":
        return None
    try:
        return byte_range(exchange.headers, etag, size)
    except RangeNotSatisfiable:
        exchange.added_headers.append((b"content-range", f"bytes */{size}".encode()))
        raise Refusal(
            "range_not_satisfiable",
            f"The picture has {size} bytes. Ask for some of these, or leave out Range.",
        ) from None


def _disposition(media_type: str, ending: str, saved: bool) -> str:
    kind = "inline" if media_type in _SHOWN and not saved else "attachment"
    return f'{kind}; filename="picture.{ending}"'
