"""The client: a pool of connections to one upstream account, which may have several keys."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from gateway.edges.upstream.attempt import Answer, Attempt, Broken, Listener, Payload, Unsent
from gateway.edges.upstream.dialling import Dialler, head_of, nothing
from gateway.edges.upstream.pool import IDLE_SECONDS, Pool
from gateway.edges.upstream.receiving import Reception
from gateway.rules.retry_after import retry_after_seconds
from gateway.rules.rotation import Rotation

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
        self._rotation = Rotation(len(self._keys))
        self._timeout_seconds = timeout_seconds
        self._max_answer_bytes = max_answer_bytes
        self._read_timeout_seconds = read_timeout_seconds
        self._dialler = Dialler(base_url, proxy=proxy, ca_bundle=ca_bundle)
        self._pool = Pool(
            self._dialler, connect_seconds=connect_timeout_seconds, idle_seconds=idle_seconds
        )
        self._lines = (
            ("host", self._dialler.authority.decode("ascii")),
            ("user-agent", USER_AGENT),
            ("accept", "application/json"),
            ("accept-encoding", "identity"),
            *self._dialler.lines,
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
        started = _now()
        try:
            head = self._head(
                "POST",
                path,
                key,
                ("content-type", payload.content_type),
                ("content-length", str(payload.length)),
                ("x-client-request-id", request_id),
                *context.items(),
            )
            async with asyncio.timeout(self._timeout_seconds):
                reception = await self._exchange(head, payload, attempt, listener)
        except Broken:
            raise
        except TimeoutError as error:
            if not attempt.sent:
                raise Unsent("no connection in time") from error
            raise attempt.broken("timeout", "no complete answer in time") from error
        except Exception as error:
            # Whatever it was, what counts is whether a byte had left.
            if not attempt.sent:
                raise Unsent(f"{type(error).__name__}: no connection") from error
            detail = f"{type(error).__name__} before the answer was complete"
            raise attempt.broken("failed", detail) from error
        asked_seconds = retry_after_seconds(reception.headers, time.time())
        self._rotation.answered(key, reception.status, asked_seconds, _now())
        return Answer(
            status=reception.status,
            content_type=reception.headers.get("content-type", ""),
            body=reception.body,
            request_id=attempt.request_id,
            retry_after_seconds=asked_seconds,
            credential=attempt.credential,
            upstream_ms=(_now() - started) * 1000,
            last=reception.last,
            went_wrong=reception.went_wrong,
        )

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

    def _head(self, method: str, path: str, key: int, *lines: tuple[str, str]) -> bytes:
        target = self._dialler.prefix + path.encode("ascii")
        authorization = ("authorization", f"Bearer {self._keys[key]}")
        return head_of(method, target, (*self._lines, authorization, *lines))

    async def _exchange(
        self, head: bytes, payload: Payload, attempt: Attempt, listener: Listener | None = None
    ) -> Reception:
        connection = await self._pool.take()
        reception = Reception(attempt, self._max_answer_bytes, listener)
        await connection.ask(head, payload, reception, attempt, self._read_timeout_seconds)
        if reception.reusable:
            self._pool.give_back(connection)
        return reception

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
        attempt = Attempt(self._hint(key))
        try:
            head = self._head("GET", "/models", key)
            async with asyncio.timeout(CATALOGUE_SECONDS):
                reception = await self._exchange(head, nothing(), attempt)
        except Exception as error:
            said = f"{type(error).__name__}: {error}".removesuffix(": ")
            raise CatalogueUnavailable(f"GET /models: {said}") from error
        status = reception.status
        if status // 100 != 2:
            if status != 429:  # how often the catalogue may be read is no matter of edits
                self._rotation.answered(key, status, None, _now())
            raise CatalogueUnavailable(f"GET /models answered {status}", status=status)
        return reception.body

    async def close(self) -> None:
        self._pool.close()


class CatalogueUnavailable(Exception):
    """The list of models could not be had; `status` is the upstream's answer, if any."""

    def __init__(self, detail: str, *, status: int | None = None) -> None:
        super().__init__(detail)
        self.status = status


def _now() -> float:
    return asyncio.get_running_loop().time()


def credential_hint(key: str) -> str:
    """Enough of an upstream key to know it by: its last four characters."""
    return f"…{key[-4:]}" if len(key) > 8 else "…"
