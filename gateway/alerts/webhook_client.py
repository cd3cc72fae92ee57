"""Webhooks over httpx: one signed POST, within a bounded time.

The body is JSON. With a secret, `X-Gateway-Signature: sha256=…` is the HMAC-SHA256 of the
body's bytes in hexadecimal. The body contains `sent_at`, so that a receiver can refuse a replay;
`X-Gateway-Timestamp` repeats it as unix seconds. `X-Gateway-Delivery` is the same at every
attempt of one message.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from gateway.alerts.certificates import tls_context
from gateway.alerts.undelivered import Undelivered

if TYPE_CHECKING:
    import httpx

TIMEOUT_SECONDS = 10.0
_USER_AGENT = "image-edit-gateway"


class WebhookClient:
    """Posts to any address; follows no redirect, and uses no proxy but the one given."""

    def __init__(
        self,
        *,
        secret: str = "",
        proxy: str = "",
        ca_bundles: Sequence[str] = (),
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._secret = secret.encode()
        self._timeout_seconds = timeout_seconds
        self._proxy = proxy or None
        self._ca_bundles = set(filter(None, ca_bundles))

    @cached_property
    def _client(self) -> httpx.AsyncClient:
        import httpx  # takes 0.2 s, and most gateways post nothing

        return httpx.AsyncClient(
            timeout=2 * self._timeout_seconds,  # `post` bounds the whole
            limits=httpx.Limits(max_connections=20, keepalive_expiry=5.0),
            proxy=self._proxy,
            verify=tls_context(self._ca_bundles),
            trust_env=False,
            follow_redirects=False,
            headers={"user-agent": _USER_AGENT},
        )

    async def post(
        self, url: str, message: Mapping[str, object], *, delivery: str, now_ms: int
    ) -> None:
        """POST the message once, with `sent_at` added to it. Raises Undelivered."""
        sent_at = datetime.fromtimestamp(now_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        body = json.dumps({**message, "sent_at": sent_at}, ensure_ascii=False).encode()
        headers = {
            "content-type": "application/json",
            "x-gateway-delivery": delivery,
            "x-gateway-timestamp": str(now_ms // 1000),
        }
        if self._secret:
            headers["x-gateway-signature"] = f"sha256={signature(self._secret, body)}"
        client = await asyncio.to_thread(lambda: self._client)  # the first use is slow
        try:
            async with asyncio.timeout(self._timeout_seconds):
                status = await _status_of(client, url, headers, body)
        except TimeoutError:
            raise Undelivered("no answer in time") from None
        except Exception as error:  # noqa: BLE001 - httpx lets errors of other libraries through
            raise Undelivered(f"no answer: {type(error).__name__}") from None
        if not 200 <= status < 300:
            raise Undelivered(f"it answered {status}")

    async def close(self) -> None:
        if "_client" in self.__dict__:
            await self._client.aclose()


async def _status_of(
    client: httpx.AsyncClient, url: str, headers: Mapping[str, str], body: bytes
) -> int:
    """The answer's status; its body is not read."""
    async with client.stream("POST", url, headers=headers, content=body) as response:
        return response.status_code


def signature(secret: bytes, body: bytes) -> str:
    """The HMAC-SHA256 of a body, in hexadecimal."""
    return hmac.new(secret, body, hashlib.sha256).hexdigest()
