"""Answers and refusals as HTTP responses; the one place where an error becomes a refusal."""

from __future__ import annotations

import asyncio
import gzip
import json
import math
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from starlette.exceptions import HTTPException

from gateway.accounts.rules import errors
from gateway.cache.result_store import StoreUnavailable
from gateway.database.database import CommitUnknown, Conflict, StateUnavailable
from gateway.model.caller import RateStatus
from gateway.model.errors import Refusal, Retry
from gateway.server.exchange import Exchange
from gateway.wire.events import error_event

Endpoint = Callable[[Exchange], Awaitable[None]]
JSON = "application/json"
COMPRESSED_FROM_BYTES = 1024
MANY_ITEMS = 1_000
_GZIP = re.compile(r"(?:^|,)\s*gzip\s*(?:;\s*q=([01](?:\.[0-9]{0,3})?)\s*)?(?=,|$)", re.IGNORECASE)
RETRIED_BY_SDKS = frozenset({408, 409, 429})
LONGEST_RETRY_AFTER_SECONDS = 60
SHUTTING_DOWN = Refusal(
    "shutting_down",
    "The gateway is shutting down; nothing was charged. Try again: another one answers, or this "
    "one when it is back.",
    retry_after_seconds=2,
)
_ACCOUNT_CODES: Mapping[type[errors.AccountError], str] = {
    errors.NotFound: "not_found",
    errors.AlreadyExists: "conflict",
    errors.AccountEnded: "conflict",
    errors.BadValue: "invalid_field",
}


async def answer_json(
    exchange: Exchange,
    document: object,
    status: int = 200,
    more: Mapping[str, str] | None = None,
    *,
    secret: bool = False,
) -> None:
    """Send a document as the whole answer.

    It is compressed for a client that asks, unless it is `secret`: the length of a compressed
    answer can betray what stands in it beside a text of an attacker's choice (BREACH).
    """
    if isinstance(document, dict) and len(document.get("data") or ()) > MANY_ITEMS:
        body = await asyncio.to_thread(_encoded, document)
    else:
        body = json.dumps(document).encode()
    headers = {"content-type": JSON, **(more or {})}
    if not secret and len(body) > COMPRESSED_FROM_BYTES:
        headers["vary"] = "Accept-Encoding"
        if accepts_gzip(exchange):
            headers["content-encoding"] = "gzip"
            body = await asyncio.to_thread(compressed, body)
    await exchange.answer(status, headers, body)


def _encoded(document: Mapping[str, Any]) -> bytes:
    """The JSON, item by item of `data`: to encode it at once holds the interpreter for seconds."""
    items = f"[{', '.join(map(json.dumps, document['data']))}]"
    members = (
        f"{json.dumps(name)}: {items if name == 'data' else json.dumps(value)}"
        for name, value in document.items()
    )
    return f"{{{', '.join(members)}}}".encode()


def accepts_gzip(exchange: Exchange) -> bool:
    weight = _GZIP.search(exchange.headers.get("accept-encoding", ""))
    return weight is not None and float(weight[1] or 1) > 0


def accepts_csv(exchange: Exchange) -> bool:
    """Is CSV asked for by name?"""
    named = exchange.headers.get("accept", "").lower().split(",")
    return any(each.partition(";")[0].strip() == "text/csv" for each in named)


def compressed(body: bytes) -> bytes:
    return gzip.compress(body, compresslevel=6, mtime=0)


async def refuse(
    exchange: Exchange, refusal: Refusal, more: Mapping[str, str] | None = None
) -> None:
    """Send a refusal, in a stream as its last event; nothing where an answer was sent."""
    body = refusal_body(refusal)
    if exchange.started:
        # Left unfinished after this, so that the client sees that something is missing.
        await exchange.send(error_event(body))
    if not exchange.answered:
        await exchange.answer(refusal.status, {**(more or {}), **refusal_headers(refusal)}, body)


def refusal_body(refusal: Refusal) -> bytes:
    """The upstream's own error, or the envelope."""
    return refusal.body or json.dumps(refusal.envelope()).encode()


def refusal_headers(refusal: Refusal) -> dict[str, str]:
    """Above all whether to try again.

    SDKs go by the status unless `x-should-retry` says otherwise, and not all heed a long
    `Retry-After`.
    """
    headers = {"content-type": JSON, "x-gateway-error-source": refusal.source}
    if refusal.status == 401:
        headers["www-authenticate"] = "Bearer"
    if refusal.rate_status:
        headers.update(rate_headers(refusal.rate_status))
    if refusal.kind.retry is Retry.YES:
        headers["x-should-retry"] = "true"
        wait = min(LONGEST_RETRY_AFTER_SECONDS, max(1, math.ceil(refusal.retry_after_seconds or 1)))
        headers["retry-after"] = str(wait)
    elif refusal.status in RETRIED_BY_SDKS or refusal.status >= 500:
        headers["x-should-retry"] = "false"
    return headers


def rate_headers(status: RateStatus) -> dict[str, str]:
    """The rate limit as the IETF draft and as SDKs name it."""
    return {
        "ratelimit-policy": f'"requests";q={status.limit};w=60',
        "ratelimit": f'"requests";r={status.remaining};t={status.reset_seconds}',
        "x-ratelimit-limit-requests": str(status.limit),
        "x-ratelimit-remaining-requests": str(status.remaining),
        "x-ratelimit-reset-requests": f"{status.reset_seconds}s",
    }


def refusal_of(error: Exception, exchange: Exchange) -> Refusal | None:
    """The refusal that an error is; None for an error that nothing foresaw."""
    match error:
        case Refusal():
            return replace(error)
        case HTTPException():
            return _of_framework(error, exchange)
        case errors.AccountError(message=message, param=param):
            return Refusal(_ACCOUNT_CODES[type(error)], message, param=param)
        case Conflict():
            return Refusal(
                "conflict", "Another request has just added the same. Read it and decide again."
            )
        case CommitUnknown():
            return Refusal(
                "state_unavailable",
                "The connection to the database failed during the commit: the change may or may "
                "not have been made. Check, then try again.",
            )
        case StateUnavailable():
            return Refusal(
                "state_unavailable",
                "The database can't be reached; nothing was changed. Try again.",
                retry_after_seconds=2,
            )
        case StoreUnavailable():
            return Refusal(
                "results_unavailable",
                f"The stored results are not available now ({error}). Edits still work, without "
                "the cache where it can't be read. Try again.",
            )
    return None


def _of_framework(error: HTTPException, exchange: Exchange) -> Refusal:
    """The framework's own 404 and 405 in our words."""
    if error.status_code == 405:
        allow = (error.headers or {}).get("Allow", "another method")
        return Refusal(
            "method_not_allowed", f"{exchange.path} does not take {exchange.method}; use {allow}."
        )
    if error.status_code == 404:
        return Refusal(
            "not_found",
            f"There is nothing at {exchange.path[:200]!r}. A client's base_url ends in /v1; the "
            "routes are /v1/images/edits, /v1/images/generations and /v1/models, and "
            "/openapi.json has all.",
        )
    return Refusal("bad_request", str(error.detail), status_override=error.status_code)
