"""The upstream image API over httpx: one attempt, told apart by what may have been charged.

`Unsent` means that no byte of the request left (so nothing can have been charged);
`Broken` means that it may have been. Whether to try again is decided elsewhere.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import httpx

USER_AGENT = "image-edit-gateway"
_READ_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer of the upstream, whatever its status."""

    status: int
    content_type: str
    body: bytes
    request_id: str
    retry_after: str
    credential: str
    upstream_ms: float = 0.0


class Unsent(Exception):
    """The request provably never left: no connection was made."""


class Broken(Exception):
    """The request may have been carried out and charged, but no complete answer came."""

    def __init__(
        self,
        why: Literal["timeout", "failed", "too_large"],
        detail: str,
        *,
        request_id: str = "",
        credential: str = "",
    ) -> None:
        super().__init__(detail)
        self.why = why
        self.request_id = request_id
        self.credential = credential


@dataclass(frozen=True, slots=True)
class Payload:
    """A body to send: its type, its exact length, and its bytes as they are wanted."""

    content_type: str
    length: int
    chunks: AsyncIterator[bytes]


class Upstream:
    """A pool of connections to one upstream account."""

    def __init__(
        self,
        *,
        base_url: str,
        api_keys: Sequence[str],
        timeout_seconds: float,
        connect_timeout_seconds: float,
        max_connections: int,
        max_answer_bytes: int,
        proxy: str = "",
        ca_bundle: str = "",
    ) -> None:
        self._keys = tuple(api_keys) or ("",)
        self._timeout_seconds = timeout_seconds
        self._max_answer_bytes = max_answer_bytes
        self._client = httpx.AsyncClient(
            base_url=base_url,
            timeout=httpx.Timeout(timeout_seconds, connect=connect_timeout_seconds, pool=None),
            limits=httpx.Limits(max_connections=max_connections, keepalive_expiry=5.0),
            verify=ssl.create_default_context(cafile=ca_bundle) if ca_bundle else True,
            proxy=proxy or None,
            trust_env=False,
            follow_redirects=False,
            headers={"user-agent": USER_AGENT, "accept-encoding": "identity"},
        )

    async def send(self, path: str, payload: Payload, *, request_id: str) -> Answer:
        """POST once. Raises Unsent or Broken where no complete answer came."""
        sent = _Sent()
        key = self._keys[0]
        credential = credential_hint(key)
        headers = {
            "authorization": f"Bearer {key}",
            "accept": "application/json",
            "content-type": payload.content_type,
            "content-length": str(payload.length),
            "x-client-request-id": request_id,
        }
        request = self._client.build_request(
            "POST", path, content=payload.chunks, headers=headers, extensions={"trace": sent}
        )
        started = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                answer = await self._exchange(request, credential)
        except Broken:
            raise
        except (TimeoutError, httpx.TimeoutException) as error:
            if not sent.headers:
                raise Unsent("no connection in time") from error
            raise Broken("timeout", "no complete answer in time", credential=credential) from error
        except Exception as error:
            # httpx also lets errors of h11 and of the operating system through: whatever
            # it was, what counts is whether a byte had left.
            if not sent.headers:
                raise Unsent(f"{type(error).__name__}: no connection") from error
            detail = f"{type(error).__name__} before the answer was complete"
            raise Broken("failed", detail, credential=credential) from error
        elapsed_ms = (asyncio.get_running_loop().time() - started) * 1000
        return Answer(**answer, credential=credential, upstream_ms=elapsed_ms)

    async def _exchange(self, request: httpx.Request, credential: str) -> dict[str, Any]:
        response = await self._client.send(request, stream=True)
        request_id = response.headers.get("x-request-id", "")[:200]
        try:
            chunks: list[bytes] = []
            size = 0
            async for chunk in response.aiter_bytes(_READ_BYTES):
                size += len(chunk)
                if size > self._max_answer_bytes:
                    raise Broken(
                        "too_large",
                        f"the answer is larger than {self._max_answer_bytes} bytes",
                        request_id=request_id,
                        credential=credential,
                    )
                chunks.append(chunk)
        finally:
            await response.aclose()
        return {
            "status": response.status_code,
            "content_type": response.headers.get("content-type", ""),
            "body": b"".join(chunks),
            "request_id": request_id,
            "retry_after": response.headers.get("retry-after", ""),
        }

    async def models(self) -> bytes:
        """The body of `GET /models`. Raises CatalogueUnavailable."""
        headers = {"authorization": f"Bearer {self._keys[0]}", "accept": "application/json"}
        try:
            response = await self._client.get("/models", headers=headers, timeout=15.0)
            response.raise_for_status()
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            raise CatalogueUnavailable(f"GET /models answered {status}", status=status) from error
        except (httpx.HTTPError, OSError) as error:
            raise CatalogueUnavailable(f"GET /models: {type(error).__name__}") from error
        return response.content

    async def close(self) -> None:
        await self._client.aclose()


class CatalogueUnavailable(Exception):
    """The list of models could not be had; `status` is the upstream's answer, if any."""

    def __init__(self, detail: str, *, status: int | None = None) -> None:
        super().__init__(detail)
        self.status = status


def credential_hint(key: str) -> str:
    """Enough of an upstream key to know it by: its last four characters."""
    return f"…{key[-4:]}" if len(key) > 8 else "…"


class _Sent:
    """Listens to the connection: has the head of the request begun to leave?"""

    def __init__(self) -> None:
        self.headers = False

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith("send_request_headers.started"):
            self.headers = True
