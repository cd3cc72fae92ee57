"""`record`: the last stage of every request, whatever came of it.

The meters and the journal at once; usage rows in batches, off the request's path. A crash
loses at most a batch of those, and never money: what was paid is in the ledger already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import cast
from zoneinfo import ZoneInfo

from gateway.database.database import Database, StateUnavailable, Transaction
from gateway.ledger.tables import usage
from gateway.model.caller import Caller
from gateway.model.money import usd
from gateway.model.windows import day_of
from gateway.telemetry.log import EventLog
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.request_record import RequestRecord, stages_ms

FLUSH_SECONDS = 0.1
BATCH_ROWS = 500
MOST_WAITING = 100_000


@dataclass(frozen=True, slots=True)
class Recorded:
    """A request as its usage row has it, or would have it now while it is `running`."""

    row: usage.UsageRow
    running: bool


class UsageRecorder:
    """Takes down how requests ended."""

    def __init__(
        self,
        *,
        database: Database,
        metrics: Metrics,
        log: EventLog,
        zone: ZoneInfo,
        now_ms: Callable[[], int],
    ) -> None:
        self._database = database
        self._metrics = metrics
        self._log = log
        self._zone = zone
        self._now_ms = now_ms
        self._running: dict[str, RequestRecord] = {}
        self._waiting: dict[str, usage.UsageRow] = {}
        """By request; a row waits until it is known to be written."""

    def begin(self, trace: RequestRecord) -> None:
        """A request that will be recorded when it has ended."""
        self._running[trace.request_id] = trace

    def find(self, request_id: str, key_id: str) -> Recorded | None:
        """A request of this key that is under way here, or whose row is not known to be written."""
        trace, row = self._running.get(request_id), self._waiting.get(request_id)
        if trace and trace.caller and trace.caller.key_id == key_id:
            return Recorded(_row(trace, trace.caller, self._now_ms(), self._zone), running=True)
        return Recorded(row, running=False) if row and row.key_id == key_id else None

    def record(self, trace: RequestRecord) -> None:
        """One finished request. Never waits."""
        self._running.pop(trace.request_id, None)
        caller, seconds = trace.caller, trace.seconds
        self._metrics.record_request(
            request_id=trace.request_id,
            route=trace.route,
            model=trace.model,
            team=caller.team if caller else "",
            key_id=caller.key_id if caller else "",
            outcome=trace.outcome,
            code=trace.code,
            seconds=seconds,
            waited_seconds=trace.waited_seconds,
            references=trace.references,
            body_bytes=trace.body_bytes,
            saved_nanos=trace.saved_nanos,
            cause=trace.cause,
            trace_id=trace.trace_id,
        )
        self._log.request(**_line(trace, seconds))
        if caller:
            self._queue(trace, caller)

    def _queue(self, trace: RequestRecord, caller: Caller) -> None:
        if len(self._waiting) >= MOST_WAITING:
            del self._waiting[next(iter(self._waiting))]
            self._metrics.failure.labels("usage_lost").inc()
        row = _row(trace, caller, self._now_ms(), self._zone)
        self._waiting[row.request_id] = row

    @property
    def waiting(self) -> int:
        """How many rows are not written yet."""
        return len(self._waiting)

    @property
    def lag_seconds(self) -> float:
        """The age of the oldest row that is not written yet; 0 where there is none."""
        oldest = next(iter(self._waiting.values()), None)
        return max(0, self._now_ms() - oldest.at_ms) / 1000 if oldest else 0.0

    async def run(self) -> None:
        """Write batches for ever."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self.flush()

    async def flush(self) -> bool:
        """Write what waits; False where the state could not be reached and it still waits.

        What comes meanwhile is left to the next time: under steady traffic there would always be
        a row or two more, and a batch of those costs as much as one of fifty.
        """
        left = len(self._waiting)
        while left > 0 and self._waiting:
            rows = list(islice(self._waiting.values(), min(BATCH_ROWS, left)))
            left -= len(rows)
            try:
                await self._write(rows)
            except StateUnavailable:
                self._metrics.failure.labels("usage").inc()
                return False
            for row in rows:
                self._waiting.pop(row.request_id, None)
        return True

    async def _write(self, rows: Sequence[usage.UsageRow]) -> None:
        """Write a batch; a row that the state refuses is given up, and never holds up others."""

        async def write(tx: Transaction) -> int:
            return await usage.record(tx, rows, day_of(self._now_ms(), self._zone))

        try:
            await self._database.write(write, urgent=False)
        except StateUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever one row holds, the others are sound
            if len(rows) == 1:
                self._metrics.failure.labels("usage_lost").inc()
                self._log.fault("a usage row was refused", error, request_id=rows[0].request_id)
                return
            middle = len(rows) // 2
            await self._write(rows[:middle])
            await self._write(rows[middle:])


def _line(trace: RequestRecord, seconds: float) -> dict[str, object]:
    caller = trace.caller
    line: dict[str, object] = {
        "request_id": trace.request_id,
        "trace_id": trace.trace_id or None,
        "route": trace.route,
        "outcome": trace.outcome.value,
        "status": trace.status,
        "code": trace.code or None,
        "team": caller.team if caller else None,
        "key_id": caller.key_id if caller else None,
        "model": trace.model or None,
        "fingerprint": trace.fingerprint or None,
        "references": trace.references or None,
        "body_bytes": trace.body_bytes or None,
        "cost_usd": None if trace.cost_nanos is None else usd(trace.cost_nanos),
        "estimated": trace.estimated or None,
        "saved_usd": usd(trace.saved_nanos) if trace.saved_nanos else None,
        "upstream_request_id": trace.upstream_request_id or None,
        "ms": round(seconds * 1000, 2),
        "stages_ms": stages_ms(trace.stages),
    }
    return {name: value for name, value in line.items() if value is not None}


def _row(trace: RequestRecord, caller: Caller, now_ms: int, zone: ZoneInfo) -> usage.UsageRow:
    return usage.UsageRow(
        id=trace.request_id.replace("req_", "use_", 1),
        at_ms=now_ms,
        day=day_of(now_ms, zone),
        request_id=trace.request_id,
        team=caller.team,
        key_id=caller.key_id,
        model=trace.model,
        outcome=trace.outcome,
        status=trace.status,
        route=trace.route,
        cause=cast(usage.Cause, trace.cause),
        saved_nanos=trace.saved_nanos,
        code=trace.code,
        paid_by_team=trace.paid_by if trace.paid_by != caller.team else "",
        owner=caller.owner,
        cost_centre=caller.cost_centre,
        tags=caller.tags,
        fingerprint=trace.fingerprint,
        aside=trace.extra_digest,
        uncacheable=trace.uncacheable,
        asked=trace.asked,
        took_us=round(trace.seconds * 1_000_000),
        stages={name: round(spent * 1_000_000) for name, spent in trace.stages.items()},
    )
