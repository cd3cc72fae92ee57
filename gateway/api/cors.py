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
        added = exchange.added_headers
        if "*" in self._origins:
            permitted = "*"
        else:
            permitted = origin if origin in self._origins else ""
            added.append((b"vary", b"Origin"))
        if origin and permitted:
            added.append((b"access-control-allow-origin", permitted.encode("latin-1")))
            added.append((b"access-control-expose-headers", _EXPOSED))
        asked = "access-control-request-method" in exchange.headers
        if not (exchange.method == "OPTIONS" and origin and asked):
            return False
        if not permitted:
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
        }
        await exchange.answer(200, headers, b"")
        return True
