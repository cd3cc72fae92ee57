"""`record`: the last stage of every request, whatever its outcome.

Metrics and the log are written at once, usage rows in batches off the request's path. A crash loses
at most a batch of usage rows, and never money: payments are in the ledger already.
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
from gateway.model.outcome import Outcome
from gateway.model.windows import day_of
from gateway.telemetry.log import EventLog
from gateway.telemetry.metrics import Metrics, families
from gateway.telemetry.request_record import RequestRecord, stages_ms

FLUSH_SECONDS = 0.1
BATCH_ROWS = 500
MOST_WAITING = 100_000


@dataclass(frozen=True, slots=True)
class Recorded:
    """A request's usage row; while the request is `running`, as it would be now."""

    row: usage.UsageRow
    running: bool


class UsageRecorder:
    """Records finished requests."""

    def __init__(
        self,
        *,
        database: Database,
        metrics: Metrics,
        log: EventLog,
        zone: ZoneInfo,
        now_ms: Callable[[], int],
        most_end_users: int = 10_000,
        on_reuse: Callable[[str, int], None] = lambda _fingerprint, _saved_nanos: None,
    ) -> None:
        self._database = database
        self._metrics = metrics
        self._log = log
        self._zone = zone
        self._now_ms = now_ms
        self._most_end_users = most_end_users
        self._on_reuse = on_reuse
        self._running: dict[str, RequestRecord] = {}
        self._waiting: dict[str, usage.UsageRow] = {}
        """By request id; a row stays until its write has succeeded."""

    def begin(self, record: RequestRecord) -> None:
        """Register a request that will be recorded once it has finished."""
        self._running[record.request_id] = record

    def find(self, request_id: str, key_id: str | None) -> Recorded | None:
        """A request that runs in this process, or whose row is not yet written.

        Of this key; None is any.
        """
        record, row = self._running.get(request_id), self._waiting.get(request_id)
        caller = record.caller if record and not record.dry_run else None
        if record and caller and key_id in (caller.key_id, None):
            return Recorded(_row(record, caller, self._now_ms(), self._zone), running=True)
        return Recorded(row, running=False) if row and key_id in (row.key_id, None) else None

    def record(self, record: RequestRecord) -> None:
        """Record a finished request. Never blocks."""
        self._running.pop(record.request_id, None)
        if record.dry_run:
            return
        caller, seconds = record.caller, record.seconds
        self._metrics.record_request(
            request_id=record.request_id,
            route=record.route,
            model=record.model,
            team=caller.team if caller else "",
            key_id=caller.key_id if caller else "",
            outcome=record.outcome,
            code=record.code,
            seconds=seconds,
            waited_seconds=record.waited_seconds,
            references=record.references,
            body_bytes=record.body_bytes,
            saved_nanos=record.saved_nanos,
            cause=record.cause,
            trace_id=record.trace_id,
        )
        for word in record.cache_control_ignored:
            self._metrics.counter(families.CACHE_CONTROL_IGNORED).labels(word).inc()
        self._log.request(**_line(record, seconds))
        if record.outcome in (Outcome.HIT, Outcome.COALESCED) and record.status == 200:
            self._on_reuse(record.fingerprint, record.saved_nanos)
        if caller:
            self._queue(record, caller)

    def _queue(self, record: RequestRecord, caller: Caller) -> None:
        if len(self._waiting) >= MOST_WAITING:
            del self._waiting[next(iter(self._waiting))]
            self._metrics.counter(families.RECOVERED_FAILURES).labels("usage_lost").inc()
        row = _row(record, caller, self._now_ms(), self._zone)
        self._waiting[row.request_id] = row

    @property
    def waiting(self) -> int:
        """Number of rows not yet written."""
        return len(self._waiting)

    @property
    def lag_seconds(self) -> float:
        """Age of the oldest row not yet written; 0 if there is none."""
        oldest = next(iter(self._waiting.values()), None)
        return max(0, self._now_ms() - oldest.at_ms) / 1000 if oldest else 0.0

    async def run(self) -> None:
        """Write batches until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self.flush()

    async def flush(self) -> bool:
        """Write the waiting rows; False if the state is unavailable and they still wait.

        Rows that arrive meanwhile are left to the next call: under steady traffic there is always
        one more, and a batch of one costs as much as a batch of fifty.
        """
        left = len(self._waiting)
        while left > 0 and self._waiting:
            rows = list(islice(self._waiting.values(), min(BATCH_ROWS, left)))
            left -= len(rows)
            try:
                await self._write(rows)
            except StateUnavailable:
                self._metrics.counter(families.RECOVERED_FAILURES).labels("usage").inc()
                return False
            for row in rows:
                self._waiting.pop(row.request_id, None)
        return True

    async def _write(self, rows: Sequence[usage.UsageRow]) -> None:
        """Write a batch. A row that the state rejects is dropped and does not block the others."""

        async def write(tx: Transaction) -> int:
            today = day_of(self._now_ms(), self._zone)
            return await usage.record(tx, rows, today, most_end_users=self._most_end_users)

        try:
            await self._database.write(write, urgent=False)
        except StateUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - one bad row must not block the others
            if len(rows) == 1:
                self._metrics.counter(families.RECOVERED_FAILURES).labels("usage_lost").inc()
                self._log.error("a usage row was rejected", error, request_id=rows[0].request_id)
                return
            middle = len(rows) // 2
            await self._write(rows[:middle])
            await self._write(rows[middle:])


def _line(record: RequestRecord, seconds: float) -> dict[str, object]:
    caller = record.caller
    line: dict[str, object] = {
        "request_id": record.request_id,
        "trace_id": record.trace_id or None,
        "route": record.route,
        "outcome": record.outcome.value,
        "status": record.status,
        "code": record.code or None,
        "team": caller.team if caller else None,
        "key_id": caller.key_id if caller else None,
        "sandbox": True if caller and caller.sandbox else None,
        "model": record.model or None,
        "asked_model": record.asked_model or None,
        "upstream": record.upstream or None,
        "fingerprint": record.fingerprint or None,
        "references": record.references or None,
        "body_bytes": record.body_bytes or None,
        "cost_usd": None if record.cost_nanos is None else usd(record.cost_nanos),
        "cost_kind": record.cost_kind,
        "estimated": record.cost_kind == "estimated" or None,
        "saved_usd": usd(record.saved_nanos) if record.saved_nanos else None,
        "upstream_request_id": record.upstream_request_id or None,
        "ms": round(seconds * 1000, 2),
        "stages_ms": stages_ms(record.stages),
    }
    return {name: value for name, value in line.items() if value is not None}


def _row(record: RequestRecord, caller: Caller, now_ms: int, zone: ZoneInfo) -> usage.UsageRow:
    return usage.UsageRow(
        id=record.request_id.replace("req_", "use_", 1),
        at_ms=now_ms,
        day=day_of(now_ms, zone),
        request_id=record.request_id,
        team=caller.team,
        key_id=caller.key_id,
        model=record.model,
        outcome=record.outcome,
        status=record.status,
        route=record.route,
        cause=cast(usage.Cause, record.cause),
        saved_nanos=record.saved_nanos,
        code=record.code,
        paid_by_team=record.paid_by if record.paid_by != caller.team else "",
        owner=caller.owner,
        cost_centre=caller.cost_centre,
        end_user=caller.end_user,
        tags=caller.tags,
        fingerprint=record.fingerprint,
        aside=record.extra_digest,
        uncacheable=record.uncacheable,
        asked=record.cache_control_text,
        took_us=round(record.seconds * 1_000_000),
        stages={name: round(spent * 1_000_000) for name, spent in record.stages.items()},
    )
