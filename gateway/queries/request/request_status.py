"""What became of a request, by our id: what `GET /v1/requests/{id}` answers.

For the key that made it and nobody else: another's request can't be told from one that never
was. What this process knows goes before what the state says, for rows are written in batches;
what is booked is the ledger's word alone. Nothing here writes.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping

from gateway.cache.result_store import ResultStore
from gateway.cache.rules.entry import may_serve
from gateway.coalescing.rules.joining import CoalescingKey
from gateway.coalescing.rules.lease import Lease
from gateway.database.database import Database, StateUnavailable, Transaction
from gateway.edits.coalescer import Coalescer, Joinable
from gateway.model.caller import Caller
from gateway.model.entry import Entry
from gateway.model.errors import Refusal
from gateway.queries.request.lookup import RequestFacts
from gateway.queries.request.serializers import facts
from gateway.queries.rules.retry_forecast import FlightEnded, Surroundings, Would, outlook
from gateway.queries.serializers import Facts
from gateway.queries.tables.request_history import Remains, remains_of
from gateway.telemetry.usage_recorder import FLUSH_SECONDS, UsageRecorder

_ID = re.compile(r"req_[0-9a-f]{32}")
LOOK_AGAIN_SECONDS = (1.5 * FLUSH_SECONDS, 3 * FLUSH_SECONDS, 6 * FLUSH_SECONDS)
"""Another process writes what it has just answered within a batch's time, or soon after."""


class RequestStatus:
    """Answers for requests of this process, `owner_id`, and of all that share its state.

    `silent_seconds` is how long a process may show no life until it counts as gone.
    """

    def __init__(
        self,
        *,
        database: Database,
        recorder: UsageRecorder,
        coalescer: Coalescer,
        results: ResultStore,
        owner_id: str,
        now_ms: Callable[[], int],
        silent_seconds: float,
    ) -> None:
        self._database = database
        self._recorder = recorder
        self._coalescer = coalescer
        self._results = results
        self._owner_id = owner_id
        self._now_ms = now_ms
        self._silent_ms = int(silent_seconds * 1000)

    async def answer(self, request_id: str, caller: Caller) -> Mapping[str, object]:
        """What became of this request of the caller's, as JSON can hold it.

        Raises `not_found` and `state_unavailable`. Money is exact decimal text in dollars,
        times are ISO 8601 in UTC, null is what is not known (yet)::

            {"object": "request", "id": "req_…", "state": "ended", "at": "…Z",
             "route": "edits", "model": "deepshi-image-1", "fingerprint": "v1-…",
             "outcome": "miss", "status": 200, "code": null,
             "ms": 5012.3, "stages_ms": {"authenticate": 0.05, "forward": 5003.1},
             "charged": true, "cost_usd": "0.01", "estimated": false,
             "held_usd": "0", "saved_usd": "0", "upstream_request_id": "…",
             "stored": true, "stored_until": "…Z",
             "retry": {"safe": true, "would": "hit", "seconds": null, "message": "…"}}

        `state` is "running" while its call is in the air, also for nobody any more; "lost" where
        the process that made the call is gone, until what is held for it is booked in full;
        else "ended".
        """
        if not _ID.fullmatch(request_id):
            raise _unknown(request_id)
        for pause in (*LOOK_AGAIN_SECONDS, None):
            if known := await self._look(request_id, caller.key_id):
                return await self._facts(request_id, known, caller)
            if pause is not None:
                await asyncio.sleep(pause)
        raise _unknown(request_id)

    async def _look(self, request_id: str, key_id: str) -> RequestFacts | None:
        """What is known of it now; None where that is nothing."""
        flying = self._coalescer.is_leading(request_id)  # before what it writes at its end is read
        recorded = self._recorder.find(request_id, key_id)
        fingerprint = recorded.row.fingerprint if recorded else ""

        async def read(tx: Transaction) -> Remains:
            return await remains_of(tx, request_id, key_id, fingerprint)

        try:
            remains = await self._database.read(read)
        except StateUnavailable:
            raise Refusal(
                "state_unavailable",
                "The gateway can't reach its books now, so it can't say what became of the "
                "request: try again.",
                retry_after_seconds=2,
            ) from None
        if recorded:
            return RequestFacts(recorded.row, remains, recorded.running, flying)
        return RequestFacts(remains.row, remains, flying=flying) if remains.about else None

    async def _facts(self, request_id: str, known: RequestFacts, caller: Caller) -> Facts:
        now_ms = self._now_ms()
        stored = await self._stored(known, now_ms)
        meets = outlook(_ended(known), self._around(known, stored, caller), now_ms)
        state = known.state(
            silent_since_ms=now_ms - self._silent_ms, joinable=meets.would is Would.JOIN
        )
        return facts(request_id, known, state, stored, meets)

    async def _stored(self, known: RequestFacts, now_ms: int) -> Entry | None:
        """The result of its edit, where it may be somebody's answer."""
        fingerprint = known.fingerprint
        if fingerprint is None or not CoalescingKey.of(fingerprint, known.directives).shared:
            return None
        found = await self._results.get(fingerprint.key)
        return found.entry if found and may_serve(found.entry, now_ms) else None

    def _around(self, known: RequestFacts, stored: Entry | None, caller: Caller) -> Surroundings:
        silent_since_ms = self._now_ms() - self._silent_ms
        leases, awaited = known.remains.leases, Joinable(in_flight=False, kept=False)
        if known.fingerprint:
            coalescing_key = CoalescingKey.of(known.fingerprint, known.directives)
            awaited = self._coalescer.would_join(coalescing_key, caller.key_id)
        return Surroundings(
            stored=stored,
            leases=leases,
            silent=[each.id for each in leases if _is_silent(each, silent_since_ms)],
            owner_id=self._owner_id,
            in_flight=awaited.in_flight,
            kept=awaited.kept,
        )


def _is_silent(lease: Lease, since_ms: int) -> bool:
    return lease.ended_ms is None and (lease.heartbeat_ms or 0) < since_ms


def _ended(known: RequestFacts) -> FlightEnded:
    return FlightEnded(
        code=known.row.code if known.row else "",
        fingerprint=known.fingerprint,
        directives=known.directives,
        paid=known.may_be_paid,
    )


def _unknown(request_id: str) -> Refusal:
    return Refusal(
        "not_found",
        f"This key has made no request {request_id[:40]!r} that is still known; the id is the "
        "x-request-id of an answer of /v1/images/….",
        param="id",
    )
