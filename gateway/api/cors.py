"""CORS: pages of the origins in `[server] cors_origins` may call `/v1` from a browser.

Keys travel in headers that the page itself sets, so credentials (cookies) are never allowed, and
`*` gives no page more than it has.
"""

from __future__ import annotations

from collections.abc import Collection

from gateway.api.openapi.refusals import HEADERS
from gateway.model.errors import Refusal
from gateway.server.exchange import Exchange

_PREFLIGHT_SECONDS = "7200"
_EXPOSED = ", ".join(HEADERS).encode()


class CorsPolicy:
    def __init__(self, origins: Collection[str]) -> None:
        self._origins = origins

    async def apply(self, exchange: Exchange) -> bool:
        """Add the headers to the answer, also of a refusal. True if a preflight was answered.

        Raises `permission_denied` for a preflight from another origin.
        """
        if not exchange.path.startswith("/v1/"):
            return False
        origin = exchange.headers.get("origin", "")
        allowed = bool(origin) and ("*" in self._origins or origin in self._origins)
        asked = exchange.headers.get("access-control-request-method")
        preflight = exchange.method == "OPTIONS" and bool(origin) and asked is not None
        added = [] if "*" in self._origins else [(b"vary", b"Origin")]
        if allowed:
            named = b"*" if "*" in self._origins else origin.encode("latin-1")
            added.append((b"access-control-allow-origin", named))
            added.append((b"access-control-expose-headers", _EXPOSED))
        exchange.added_headers = added
        if not preflight:
            return False
        if not allowed:
            raise Refusal(
                "permission_denied",
                f"Pages of {origin[:200]!r} may not call this gateway; [server] cors_origins "
                "lists the origins that may.",
            )
        headers = {
            "access-control-allow-methods": "GET, HEAD, POST",
            "access-control-allow-headers": exchange.headers.get(
                "access-control-request-headers", ""
            ),
            "access-control-max-age": _PREFLIGHT_SECONDS,
            "x-request-id": exchange.request_id,
        }
        await exchange.answer(200, headers, b"")
        return True
