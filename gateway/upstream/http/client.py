"""The client: a pool of connections to one upstream account, which may have several keys."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from types import MappingProxyType
from typing import cast

import httpx

from gateway.upstream.http.attempt import Answer, Attempt, Broken, Listener, Payload, Unsent
from gateway.upstream.http.receiving import bounded, is_stream, last_event, read_tail
from gateway.upstream.http.transport import IDLE_SECONDS, open_transport
from gateway.upstream.rules.key_rotation import KeyRotation
from gateway.upstream.rules.retry_after import retry_after_seconds

NO_CONTEXT: Mapping[str, str] = MappingProxyType({})
USER_AGENT = "image-edit-gateway"
CATALOGUE_SECONDS = 15.0


class Upstream:
    """A pool of connections to one upstream account.

    `timeout_seconds` bounds a whole attempt, `read_timeout_seconds` each silence in it: a plain
    edit sends no byte until it is done. Its keys take turns; those that rest are left alone.
    """

    def __init__(
        self,
        *,
        base_url: str,
        api_keys: Sequence[str],
        timeout_seconds: float,
        read_timeout_seconds: float,
        connect_timeout_seconds: float,
        max_answer_bytes: int,
        proxy: str = "",
        ca_bundle: str = "",
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._keys = tuple(api_keys) or ("",)
        self._rotation = KeyRotation(len(self._keys))
        self._timeout_seconds = timeout_seconds
        self._max_answer_bytes = max_answer_bytes
        self._base_url = base_url.rstrip("/")
        self._urls: dict[str, httpx.URL] = {}
        self._headers = {
            "user-agent": USER_AGENT,
            "accept": "application/json",
            "accept-encoding": "identity",
        }
        self._transport = open_transport(
            idle_seconds=idle_seconds,
            proxy=proxy,
            ca_bundle=ca_bundle,
            most_in_place=max_answer_bytes,
        )
        self._client = httpx.AsyncClient(
            base_url=base_url,
            timeout=httpx.Timeout(read_timeout_seconds, connect=connect_timeout_seconds, pool=None),
            transport=self._transport,
            trust_env=False,
            follow_redirects=False,
            headers=self._headers,
        )

    async def send(
        self,
        path: str,
        payload: Payload,
        *,
        request_id: str,
        listener: Listener | None = None,
        context: Mapping[str, str] = NO_CONTEXT,
    ) -> Answer:
        """POST once. Raises Unsent or Broken where no complete answer came.

        `context` are headers that tell of the trace which the call belongs to.

        With a `listener`, a 200 that is a stream of events is heard by it as it comes, and is
        complete with its completed or error event; any other answer is read as a whole.
        """
        key = self._rotation.take(_now())
        attempt = Attempt(self._hint(key))
        headers = {
            "authorization": f"Bearer {self._keys[key]}",
            **self._headers,
            "content-type": payload.content_type,
            "content-length": str(payload.length),
            "x-client-request-id": request_id,
            **context,
        }
        body = cast(AsyncIterator[bytes], payload.chunks)  # httpx passes views through as well
        # Not built by the client: it would spend as long on merging it with its defaults as on
        # sending it.
        extensions = {"trace": attempt, "timeout": self._client.timeout.as_dict()}
        request = httpx.Request(
            "POST", self._url(path), content=body, headers=headers, extensions=extensions
        )
        started = _now()
        try:
            async with asyncio.timeout(self._timeout_seconds), aclosing(payload.chunks):
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
        self._rotation.answered(key, answer.status, answer.retry_after_seconds, _now())
        return replace(answer, upstream_ms=(_now() - started) * 1000)

    def _url(self, path: str) -> httpx.URL:
        url = self._urls.get(path)
        if url is None:
            url = self._urls[path] = httpx.URL(self._base_url + path)
        return url

    @property
    def rest_seconds(self) -> float:
        """For how long the upstream has asked every key to wait; 0 where one may be used."""
        return self._rotation.rest_seconds(_now())

    @property
    def has_good_key(self) -> bool:
        """Is there a key that was not refused of late?"""
        return self._rotation.has_good(_now())

    def _hint(self, key: int) -> str:
        """Which key it is: its number where there are several, and its last characters."""
        hint = credential_hint(self._keys[key])
        return hint if len(self._keys) == 1 else f"{key + 1}:{hint}"

    async def _exchange(
        self, request: httpx.Request, attempt: Attempt, listener: Listener | None
    ) -> Answer:
        # Past the client: it would only see that there is nothing to follow, to keep or to add.
        response = await self._transport.handle_async_request(request)
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
            retry_after_seconds=retry_after_seconds(response.headers, time.time()),
            credential=attempt.credential,
            last=last,
            went_wrong=went_wrong,
        )

    @property
    def keys(self) -> int:
        """How many keys there are."""
        return len(self._keys)

    @property
    def refused_keys(self) -> int:
        """How many keys were refused of late."""
        return self._rotation.refused(_now())

    async def models(self) -> bytes:
        """The body of `GET /models`, by any key that may have it. Raises CatalogueUnavailable."""
        while True:
            try:
                return await self._models(self._rotation.take(_now()))
            except CatalogueUnavailable as error:
                if error.status not in (401, 403) or not self.has_good_key:
                    raise

    async def unusable_keys(self) -> list[str]:
        """Which keys can't have the catalogue, each with why; all of them are tried."""
        found = []
        for key in range(len(self._keys)):
            try:
                await self._models(key)
            except CatalogueUnavailable as error:
                found.append(f"key {self._hint(key)}: {error}")
        return found

    async def _models(self, key: int) -> bytes:
        headers = {"authorization": f"Bearer {self._keys[key]}"}
        try:
            response = await self._client.get("/models", headers=headers, timeout=CATALOGUE_SECONDS)
            response.raise_for_status()
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            if status != 429:  # how often the catalogue may be read is no matter of edits
                self._rotation.answered(key, status, None, _now())
            raise CatalogueUnavailable(f"GET /models answered {status}", status=status) from error
        except (httpx.HTTPError, OSError) as error:
            said = f"{type(error).__name__}: {error}".removesuffix(": ")
            raise CatalogueUnavailable(f"GET /models: {said}") from error
        return response.content

    async def close(self) -> None:
        await self._client.aclose()


class CatalogueUnavailable(Exception):
    """The list of models could not be had; `status` is the upstream's answer, if any."""

    def __init__(self, detail: str, *, status: int | None = None) -> None:
        super().__init__(detail)
        self.status = status


def _now() -> float:
    return asyncio.get_running_loop().time()


def _printable(value: str) -> str:
    """What can stand in a header of ours; an upstream may send bytes of any kind."""
    return "".join(character for character in value if " " <= character <= "~")


def credential_hint(key: str) -> str:
    """Enough of an upstream key to know it by: its last four characters."""
    return f"…{key[-4:]}" if len(key) > 8 else "…"
