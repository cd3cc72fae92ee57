"""The status of a request by its id, as `GET /v1/requests/{id}` answers it.

A key sees the requests that it made alone: another key's request and an unknown id get the same
answer. An admin token sees those that its role may see. This process's memory comes before the
state, because usage rows are written in batches; the ledger alone says what is booked. Nothing here
writes.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace

from gateway.cache.result_store import ResultStore
from gateway.cache.rules.entry import Entry, may_serve
from gateway.coalescing.rules.coalescing_key import CoalescingKey
from gateway.database.database import Database
from gateway.edits.lead_or_follow import Coalescer, Joinable
from gateway.model.caller import Caller
from gateway.model.errors import Refusal
from gateway.queries.models.request_status import RequestDetailView, RequestView
from gateway.queries.request_view import detail_view, request_view
from gateway.queries.rules.retry_forecast import (
    EndedRequest,
    Obtainable,
    RetryOutcome,
    forecast_retry,
)
from gateway.queries.tables.request_history import RequestHistory, history_of
from gateway.queries.tables.request_list import Maker, maker_of
from gateway.telemetry.usage_recorder import FLUSH_SECONDS, UsageRecorder

_ID = re.compile(r"req_[0-9a-f]{32}")
LOOK_AGAIN_SECONDS = (1.5 * FLUSH_SECONDS, 3 * FLUSH_SECONDS, 6 * FLUSH_SECONDS)
"""Waits between looks: another process writes the row of a request within a batch's time."""


class RequestStatus:
    """Reads requests of this process, `owner_id`, and of all that share its state.

    A process that has shown no life for `silent_seconds` counts as gone.
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

    async def read(self, request_id: str, caller: Caller) -> RequestView:
        """The status of the caller's request. Raises `not_found`, and StateUnavailable."""
        if not _ID.fullmatch(request_id):
            raise _unknown(request_id)
        for pause in (*LOOK_AGAIN_SECONDS, None):
            if known := await self._look(request_id, caller.key_id):
                return await self._view(request_id, known, caller.key_id)
            if pause is not None:
                await asyncio.sleep(pause)
        raise _unknown(request_id)

    async def read_any(
        self, request_id: str, may_see: Callable[[Maker], bool]
    ) -> RequestDetailView:
        """The status of a request of any maker that `may_see` allows, with its booked calls.

        Raises `not_found`, and StateUnavailable.
        """
        recorded = self._recorder.find(request_id, None)
        if recorded:
            row = recorded.row
            maker: Maker | None = Maker(row.team, row.key_id, row.end_user)
        else:
            maker = await self._database.read(lambda tx: maker_of(tx, request_id))
        if maker is None or not may_see(maker):
            raise _unknown_to_all(request_id)
        known = await self._look(request_id, maker.key_id)
        if known is None:
            raise _unknown_to_all(request_id)
        return detail_view(await self._view(request_id, known, maker.key_id), known, maker)

    async def _look(self, request_id: str, key_id: str) -> RequestHistory | None:
        """What is known of the request now; None where nothing is."""
        # Asked first: the flight writes its last rows before it stops leading.
        in_flight = self._coalescer.is_leading(request_id)
        recorded = self._recorder.find(request_id, key_id)
        fingerprint = recorded.row.fingerprint if recorded else ""

        history = await self._database.read(
            lambda tx: history_of(tx, request_id, key_id, fingerprint)
        )
        known = replace(history, in_flight=in_flight)
        if recorded:
            known = replace(known, row=recorded.row, answering=recorded.running)
        return known if known.about or known.accepted else None

    async def _view(self, request_id: str, known: RequestHistory, key_id: str) -> RequestView:
        now_ms = self._now_ms()
        silent_since_ms = now_ms - self._silent_ms
        stored = await self._stored(known, now_ms)
        ended = EndedRequest(
            code=known.row.code if known.row else "",
            fingerprint=known.fingerprint,
            directives=known.directives,
            paid=known.may_be_paid,
        )
        obtainable = self._obtainable(known, stored, key_id, silent_since_ms)
        forecast = forecast_retry(ended, obtainable, now_ms)
        state = known.state(
            silent_since_ms=silent_since_ms, joinable=forecast.outcome is RetryOutcome.JOIN
        )
        return request_view(request_id, known, state, stored, forecast)

    async def _stored(self, known: RequestHistory, now_ms: int) -> Entry | None:
        """The stored result of the edit, if it may be served."""
        fingerprint = known.fingerprint
        if fingerprint is None or not CoalescingKey.of(fingerprint, known.directives).shared:
            return None
        found = await self._results.get(fingerprint.key)
        return found.entry if found and may_serve(found.entry, now_ms) else None

    def _obtainable(
        self, known: RequestHistory, stored: Entry | None, key_id: str, silent_since_ms: int
    ) -> Obtainable:
        leases, here = known.leases, Joinable(in_flight=False, kept=False)
        if known.fingerprint:
            coalescing_key = CoalescingKey.of(known.fingerprint, known.directives)
            here = self._coalescer.would_join(coalescing_key, key_id)
        silent = [
            lease.id
            for lease in leases
            if lease.ended_ms is None and (lease.heartbeat_ms or 0) < silent_since_ms
        ]
        return Obtainable(
            stored=stored,
            leases=leases,
            silent=silent,
            owner_id=self._owner_id,
            in_flight=here.in_flight,
            kept=here.kept,
        )


def _unknown(request_id: str) -> Refusal:
    return Refusal(
        "not_found",
        f"This key has made no request {request_id[:40]!r}, or it is no longer known. Give the "
        "x-request-id of an answer of /v1/images/….",
        param="id",
    )


def _unknown_to_all(request_id: str) -> Refusal:
    return Refusal(
        "not_found",
        f"No request {request_id[:40]!r} is known (any more). Give the x-request-id of an answer.",
        param="id",
    )
