"""The client: a pool of connections to one upstream account."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace

import httpx

from gateway.edges.upstream.attempt import Answer, Attempt, Broken, Listener, Payload, Unsent
from gateway.edges.upstream.receiving import bounded, is_stream, last_event, read_tail

USER_AGENT = "image-edit-gateway"


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

    async def send(
        self, path: str, payload: Payload, *, request_id: str, listener: Listener | None = None
    ) -> Answer:
        """POST once. Raises Unsent or Broken where no complete answer came.

        With a `listener`, a 200 that is a stream of events is heard by it as it comes, and is
        complete with its completed or error event; any other answer is read as a whole.
        """
        key = self._keys[0]
        attempt = Attempt(credential_hint(key))
        headers = {
            "authorization": f"Bearer {key}",
            "accept": "application/json",
            "content-type": payload.content_type,
            "content-length": str(payload.length),
            "x-client-request-id": request_id,
        }
        request = self._client.build_request(
            "POST", path, content=payload.chunks, headers=headers, extensions={"trace": attempt}
        )
        started = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                answer = await self._exchange(request, attempt, listener)
        except Broken:
            raise
        except (TimeoutError, httpx.TimeoutException) as error:
            if not attempt.sent:
                raise Unsent("no connection in time") from error
            raise attempt.broken("timeout", "no complete answer in time") from error
        except Exception as error:
            # httpx also lets errors of h11 and of the operating system through: whatever
            # it was, what counts is whether a byte had left.
            if not attempt.sent:
                raise Unsent(f"{type(error).__name__}: no connection") from error
            detail = f"{type(error).__name__} before the answer was complete"
            raise attempt.broken("failed", detail) from error
        elapsed_ms = (asyncio.get_running_loop().time() - started) * 1000
        return replace(answer, upstream_ms=elapsed_ms)

    async def _exchange(
        self, request: httpx.Request, attempt: Attempt, listener: Listener | None
    ) -> Answer:
        response = await self._client.send(request, stream=True)
        attempt.request_id = _printable(response.headers.get("x-request-id", ""))[:200]
        last, went_wrong = None, False
        try:
            async with aclosing(bounded(response, self._max_answer_bytes, attempt)) as chunks:
                if listener and is_stream(response):
                    last, went_wrong = await last_event(
                        chunks, listener, self._max_answer_bytes, attempt
                    )
                    body = last.data
                    await read_tail(chunks)
                else:
                    body = b"".join([chunk async for chunk in chunks])
        finally:
            await response.aclose()
        return Answer(
            status=response.status_code,
            content_type=response.headers.get("content-type", ""),
            body=body,
            request_id=attempt.request_id,
            retry_after=response.headers.get("retry-after", ""),
            credential=attempt.credential,
            last=last,
            went_wrong=went_wrong,
        )

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


def _printable(value: str) -> str:
    """What can stand in a header of ours; an upstream may send bytes of any kind."""
    return "".join(character for character in value if " " <= character <= "~")


def credential_hint(key: str) -> str:
    """Enough of an upstream key to know it by: its last four characters."""
    return f"…{key[-4:]}" if len(key) > 8 else "…"
