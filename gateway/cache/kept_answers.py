"""The answers to asynchronous requests, kept for a day under the request's id.

The state has a row for each; the body of a picture is in a store of its own, which neither a purge
nor the size limit of the results reaches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from blake3 import blake3

from gateway.cache.result_store import ResultStore, StoreUnavailable
from gateway.cache.rules.entry import Entry
from gateway.cache.tables import kept_answers
from gateway.cache.tables.kept_answers import AcceptedRequest, AnsweredRequest
from gateway.database.database import Database
from gateway.model.caller import Caller

KEPT_MS = 86_400_000
KNOWN_MS = 7 * KEPT_MS
"""An answer that is no longer kept is known to have been for this long."""
_SWEPT_AT_ONCE = 100
_JSON = "application/json"


@dataclass(kw_only=True, slots=True)
class KeptAnswers:
    """Accepts asynchronous requests for this process, and keeps and reads those of all."""

    database: Database
    store: ResultStore
    max_bytes: int
    """What is kept on the disk; beyond it no more requests are accepted."""
    owner_id: str
    now_ms: Callable[[], int]
    silent_seconds: float
    _started: bool = field(init=False, default=False)

    async def has_room(self) -> bool:
        """May another answer be kept? No, where that can't be found out."""
        try:
            return (await self.store.local_stats()).bytes < self.max_bytes
        except StoreUnavailable:
            return False

    async def accept(self, request_id: str, caller: Caller) -> None:
        """From now on the request can be asked for. Raises StateUnavailable."""
        now_ms = self.now_ms()
        await self.database.write(
            lambda tx: kept_answers.accept(tx, request_id, caller, self.owner_id, now_ms)
        )

    async def keep(
        self,
        request_id: str,
        caller: Caller,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        *,
        linked: bool = False,
    ) -> bool:
        """Keep the answer. False if its body could not be stored. Raises StateUnavailable.

        `linked` says that it is given with links instead of its pictures.
        """
        now_ms, refused = self.now_ms(), status >= 400
        stored = not refused and await self._put(request_id, caller, now_ms, body)
        text = body.decode() if refused else ""
        answer = AnsweredRequest(now_ms, status, headers, text, stored, linked)
        await self.database.write(lambda tx: kept_answers.end(tx, request_id, answer))
        return stored or refused

    async def find(self, request_id: str, key_id: str) -> AcceptedRequest | None:
        """The asynchronous request of this key. Raises StateUnavailable."""
        return await self.database.read(lambda tx: kept_answers.find(tx, request_id, key_id))

    def is_lost(self, request: AcceptedRequest) -> bool:
        """Has its process gone without an answer?"""
        return request.is_lost(self.now_ms() - int(self.silent_seconds * 1000))

    def has_expired(self, request: AcceptedRequest) -> bool:
        ended_ms = request.answer.ended_ms if request.answer else request.accepted_ms
        return self.now_ms() >= ended_ms + KEPT_MS

    async def sweep(self) -> None:
        """Delete bodies that have expired, and forget their requests. Raises StateUnavailable."""
        now_ms = self.now_ms()
        before_ms = now_ms - KEPT_MS
        ids = await self.database.read(
            lambda tx: kept_answers.expired(tx, before_ms, _SWEPT_AT_ONCE)
        )
        gone = [each for each in ids if await self.store.delete(each)]
        if gone:
            await self.database.write(lambda tx: kept_answers.mark_deleted(tx, gone), urgent=False)
        await self.database.write(
            lambda tx: kept_answers.sweep(tx, now_ms - KNOWN_MS), urgent=False
        )

    async def forget_users(self, names: Sequence[str], team: str | None) -> None:
        """Delete the answers to the requests of these end users, of a team or of all.

        Raises StateUnavailable.
        """
        ids = await self.database.read(lambda tx: kept_answers.of_users(tx, names, team or ""))
        gone = [each for each in ids if await self.store.delete(each)]
        await self.database.write(lambda tx: kept_answers.forget(tx, gone), urgent=False)

    async def close(self) -> None:
        await self.store.close()

    async def _put(self, request_id: str, caller: Caller, now_ms: int, body: bytes) -> bool:
        if not self._started:
            self._started = True
            await self.store.start()
        entry = Entry(
            key=request_id,
            team=caller.team,
            key_id=caller.key_id,
            model="",
            cost_nanos=None,
            created_ms=now_ms,
            expires_ms=now_ms + KEPT_MS,
            body_digest=blake3(body).hexdigest(),
            body_bytes=len(body),
            content_type=_JSON,
            request_id=request_id,
            upstream_request_id="",
        )
        return await self.store.put(entry, body)
