"""The header `Prefer` (RFC 7240): `respond-async` asks for an answer later."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.model.errors import Refusal

RESPOND_ASYNC = "respond-async"


def prefers_async(headers: Mapping[str, str]) -> bool:
    """Is an answer later preferred? Other preferences are ignored, as RFC 7240 says."""
    if "prefer" not in headers:
        return False
    words = headers["prefer"].lower().split(",")
    return any(word.partition(";")[0].strip() == RESPOND_ASYNC for word in words)


def check_kept(*, stores: bool) -> None:
    """Raises `invalid_field` for a request whose answer may not be kept."""
    if not stores:
        raise Refusal(
            "invalid_field",
            "An answer later has to be kept, which no-store forbids: leave out Prefer: "
            "respond-async, or no-store.",
            param="Prefer",
        )


def check_presentation(*, upstream_urls: bool) -> None:
    """Raises `invalid_field` for the upstream's URLs, which may expire before the answer does."""
    if upstream_urls:
        raise Refusal(
            "invalid_field",
            "An answer later can't be the upstream's URL, which expires, and no link to this "
            "picture can be made here: leave out response_format=url, or Prefer: respond-async.",
            param="response_format",
        )
