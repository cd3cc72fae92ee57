"""The client of one upstream account, which may have several keys."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from functools import cached_property, partial

import aiohttp

from gateway.model.edit import AdapterFacts
from gateway.upstream.adapters import Adapter, OpenAI
from gateway.upstream.answer_reader import is_encoded, read_answer, redirect_target
from gateway.upstream.call import Answer, Attempt, Broken, Failure, Listener, Payload, Unsent
from gateway.upstream.connections import IDLE_SECONDS, open_session, open_tls
from gateway.upstream.request_body import RequestBody
from gateway.upstream.rules.catalogue_parser import parse_json
from gateway.upstream.rules.key_rotation import KeyRotation

CLOSE_SECONDS = 1.0
CATALOGUE_TIMEOUT = aiohttp.ClientTimeout(total=15.0)
MAX_CATALOGUE_BYTES = 2 << 20
_HEADERS = {
    "user-agent": "image-edit-gateway",
    "accept": "application/json",
    "accept-encoding": "identity",
}


class UpstreamClient:
    """Sends calls and reads their answers; each call has a connection of its own.

    `timeout_seconds` bounds a whole call, `read_timeout_seconds` each silence in it: a plain edit
    sends no byte until it is done. With `keep_alive` a later call may use the same connection.
    """

    def __init__(
        self,
        *,
        base_url: str,
        api_keys: Sequence[str],
        auth: str = "bearer",
        timeout_seconds: float,
        read_timeout_seconds: float,
        connect_timeout_seconds: float,
        max_answer_bytes: int,
        keep_alive: bool = False,
        proxy: str = "",
        ca_bundle: str = "",
        idle_seconds: float = IDLE_SECONDS,
        adapter: Adapter | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        models: Sequence[str] = (),
    ) -> None:
        self._keys = tuple(api_keys) or ("",)
        self._auth = auth
        self._rotation = KeyRotation(len(self._keys))
        self._timeout_seconds = timeout_seconds
        self._read_timeout_seconds = read_timeout_seconds
        self._max_answer_bytes = max_answer_bytes
        self.base_url = base_url.rstrip("/")
        self._proxy = proxy or None
        self._adapter = adapter or OpenAI(AdapterFacts())
        self._headers = {name.lower(): value for name, value in (headers or {}).items()} | _HEADERS
        self._query = dict(query or {}) or None
        self._listed_models = tuple(models)
        self._in_flight: dict[RequestBody, asyncio.Task[object] | None] = {}
        encrypted = any(url.startswith("https:") for url in (base_url, proxy))
        self._open_session = partial(
            open_session,
            tls=open_tls(ca_bundle) if encrypted else None,
            keep_alive=keep_alive,
            idle_seconds=idle_seconds,
            connect_timeout_seconds=connect_timeout_seconds,
            read_timeout_seconds=read_timeout_seconds,
        )

    @cached_property
    def _session(self) -> aiohttp.ClientSession:
        """Opened by the first call, since it belongs to a running event loop."""
        return self._open_session()

    async def close(self) -> None:
        """Break the calls in flight and refuse further ones."""
        for body in self._in_flight:
            body.abort()
        # A session that closes drops the readers of its streams without an error: calls end first.
        if calls := [task for task in self._in_flight.values() if task]:
            await asyncio.wait(calls, timeout=CLOSE_SECONDS)
        await self._session.close()

    async def send(
        self,
        path: str,
        payload: Payload,
        *,
        request_id: str,
        listener: Listener | None = None,
        context: Mapping[str, str] | None = None,
    ) -> Answer:
        """POST once. Raises Unsent, or Broken where no complete answer arrived.

        `context` are the headers of the trace that the call belongs to. With a `listener`, a 200
        that is a stream of events is reported event by event; its completed or error event ends
        it. Any other answer is read as a whole.
        """
        key = self._rotation.take(_now())
        attempt = Attempt(self._hint(key))
        headers = {
            **self._headers,
            **self._credentials(key),
            "content-type": payload.content_type,
            "x-client-request-id": request_id,
            **(context or {}),
        }
        try:
            async with asyncio.timeout(self._timeout_seconds):
                answer = await self._exchange(path, headers, payload, attempt, listener)
        except (Broken, Unsent):
            raise
        except Exception as error:
            # Whatever went wrong, only one thing counts: could a byte have left?
            name = type(error).__name__
            if not attempt.sent:
                raise Unsent(f"{name}: no connection") from error
            why: Failure = "timeout" if isinstance(error, TimeoutError) else "failed"
            raise attempt.broken(why, f"{name} before the answer was complete") from error
        # An account that can't pay is as good as a refused key.
        status = 401 if answer.account_code else answer.status
        self._rotation.record_answer(key, status, answer.retry_after_seconds, _now())
        return answer

    async def _exchange(
        self,
        path: str,
        headers: Mapping[str, str],
        payload: Payload,
        attempt: Attempt,
        listener: Listener | None,
    ) -> Answer:
        body = RequestBody(payload, silence_seconds=self._read_timeout_seconds)
        response = None
        self._in_flight[body] = asyncio.current_task()
        try:
            _check_headers(headers)
            response = await self._session.post(
                self.base_url + path,
                data=body,
                headers=headers,
                params=self._query,
                proxy=self._proxy,
                allow_redirects=False,
                trace_request_ctx=attempt,
            )
            attempt.request_id = _printable(response.headers.get("x-request-id", ""))[:200]
            return await read_answer(
                response,
                attempt,
                client_request_id=headers["x-client-request-id"],
                max_bytes=self._max_answer_bytes,
                listener=listener,
                now_unix=time.time(),
                to_openai_error=self._adapter.error,
            )
        except BaseException:
            if response is None or response.connection:  # else it may serve another call already
                body.abort()
            raise
        finally:
            if response:
                response.close()
            await body.stop()
            del self._in_flight[body]

    async def models(self) -> bytes:
        """The list of models in OpenAI's form, with any key that may read it.

        It is the one of the settings, if there is one. Raises CatalogueUnavailable.
        """
        if self._listed_models:
            return self._to_listing(listing_of(self._listed_models))
        while True:
            try:
                return await self._models(self._rotation.take(_now()))
            except CatalogueUnavailable as error:
                if error.status not in (401, 403) or not self.has_good_key:
                    raise

    async def unusable_keys(self) -> list[str]:
        """The keys that may not read the catalogue, each with the reason; tries all keys."""
        found: list[str] = []
        if self._listed_models:
            return found
        for key in range(len(self._keys)):
            try:
                await self._models(key)
            except CatalogueUnavailable as error:
                found.append(f"key {self._hint(key)}: {error}")
        return found

    async def _models(self, key: int) -> bytes:
        headers = {**self._headers, **self._credentials(key)}
        try:
            async with self._session.get(
                self.base_url + self._adapter.endpoint.models_path,
                headers=headers,
                params=self._query,
                proxy=self._proxy,
                allow_redirects=False,
                timeout=CATALOGUE_TIMEOUT,
            ) as response:
                status, target = response.status, redirect_target(response)
                body = await _bounded_body(response)
        except Exception as error:
            said = f"{type(error).__name__}: {error}".removesuffix(": ")
            raise CatalogueUnavailable(f"GET /models: {said}") from error
        if 200 <= status < 300:
            return await asyncio.to_thread(self._to_listing, body)
        status, _ = self._adapter.error(status, body)
        if status != 429:  # the rate of the catalogue says nothing of edits
            self._rotation.record_answer(key, status, None, _now())
        to = f", a redirect to {target}; correct its base_url" if target else ""
        raise CatalogueUnavailable(f"GET /models answered {status}{to}", status=status)

    def _to_listing(self, body: bytes) -> bytes:
        """A list of models in OpenAI's form; what can't be parsed is left to its reader."""
        try:
            document = parse_json(body)
        except ValueError:
            return body
        try:
            listing = self._adapter.to_listing(document)
        except (KeyError, TypeError, AttributeError):
            raise CatalogueUnavailable("GET /models: not this API's list of models") from None
        return body if listing == document else json.dumps(listing).encode()

    @property
    def backoff_seconds(self) -> float:
        """How long every key has been asked to wait; 0 if one may be used."""
        return self._rotation.backoff_seconds(_now())

    @property
    def has_good_key(self) -> bool:
        """Is there a key that was not refused recently?"""
        return self._rotation.has_good(_now())

    @property
    def keys(self) -> int:
        """The number of keys."""
        return len(self._keys)

    @property
    def refused_keys(self) -> int:
        """The number of keys that were refused recently."""
        return self._rotation.refused(_now())

    def _credentials(self, key: int) -> Mapping[str, str]:
        """The header with this key, by the setting `auth`."""
        if self._auth == "none":
            return {}
        if self._auth == "bearer":
            return {"authorization": f"Bearer {self._keys[key]}"}
        return {self._auth.removeprefix("header:").lower(): self._keys[key]}

    def _hint(self, key: int) -> str:
        """Names a key: its number where there are several, and its last characters."""
        hint = _credential_hint(self._keys[key])
        return hint if len(self._keys) == 1 else f"{key + 1}:{hint}"


class CatalogueUnavailable(Exception):
    """The list of models could not be read; `status` is the upstream's answer, if any."""

    def __init__(self, detail: str, *, status: int | None = None) -> None:
        super().__init__(detail)
        self.status = status


def listing_of(models: Sequence[str]) -> bytes:
    """A list of models by their names alone."""
    data = [
        {"id": name, "object": "model", "created": 0, "owned_by": "upstream"} for name in models
    ]
    return json.dumps({"object": "list", "data": data}).encode()


async def _bounded_body(response: aiohttp.ClientResponse) -> bytes:
    """The body of a list of models. Raises ValueError if it is encoded or too large."""
    if is_encoded(response):
        raise ValueError("the answer has a content encoding, though none was asked for")
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_CATALOGUE_BYTES:
            raise ValueError(f"the answer is larger than {MAX_CATALOGUE_BYTES} bytes")
    return bytes(body)


def _credential_hint(key: str) -> str:
    """The last four characters of an upstream key, enough to tell it from others."""
    return f"…{key[-4:]}" if len(key) > 8 else "…"


def _check_headers(headers: Mapping[str, str]) -> None:
    """Before a connection is made: a request that can't be encoded has provably not left."""
    for name, value in headers.items():
        if not value.isascii() or not value.isprintable():
            raise ValueError(f"the header {name} can't hold such characters")


def _now() -> float:
    return asyncio.get_running_loop().time()


def _printable(value: str) -> str:
    """The characters that a header of ours may hold; the upstream may send any bytes."""
    return "".join(character for character in value if " " <= character <= "~")
