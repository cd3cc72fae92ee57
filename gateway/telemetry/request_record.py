"""The record of one request: the times of its stages, and how it ended."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType

from gateway.cache.rules.entry import Entry
from gateway.model.caller import Caller, RateStatus
from gateway.model.edit import Route
from gateway.model.errors import Refusal
from gateway.model.money import NANOS
from gateway.model.outcome import Outcome
from gateway.model.reservation import CostKind
from gateway.telemetry.spans import NO_SPANS, SpanAttributes, Spans
from gateway.wire.cache_status import CacheStatus

Raised = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]
WAITING = ("join", "follow", "first_call", "queue", "forward")
"""The stages in which a request waits for something outside the gateway."""


class Stage:
    """Times one stage, as a context manager, and adds its seconds to earlier ones of its name.

    A class, because a generator function would take several times as long.
    """

    __slots__ = ("_begun", "_name", "_seconds", "_span")

    def __init__(self, name: str, seconds: dict[str, float], spans: Spans) -> None:
        self._name, self._seconds = name, seconds
        self._span = None if spans is NO_SPANS else spans.stage(name)

    def __enter__(self) -> None:
        self._begun = time.perf_counter()
        if self._span:
            self._span.__enter__()

    def __exit__(self, *raised: *Raised) -> None:
        try:
            if self._span:
                self._span.__exit__(*raised)
        finally:
            spent = time.perf_counter() - self._begun
            self._seconds[self._name] = self._seconds.get(self._name, 0.0) + spent


@dataclass(slots=True)
class RequestRecord:
    """Filled in by the stages, read when the request has ended."""

    request_id: str
    route: Route
    spans: Spans = NO_SPANS
    started: float = field(default_factory=time.perf_counter)
    stages: dict[str, float] = field(default_factory=dict)
    caller: Caller | None = None
    model: str = ""
    asked_model: str = ""
    """The alias that was asked for, if one was."""
    upstream: str = ""
    """The name of the upstream that the answer is from."""
    outcome: Outcome = Outcome.FAILED
    status: int = 0
    code: str = ""
    fingerprint: str = ""
    extra_digest: str = ""
    uncacheable: str = ""
    cache_control_text: str = ""
    """The cache directives, as `Directives.text`."""
    cache_control_ignored: tuple[str, ...] = ()
    """What of a plain `Cache-Control` or `Pragma` was ignored."""
    references: int = 0
    reference_cap: int | None = None
    body_bytes: int = 0
    cost_nanos: int | None = None
    cost_kind: CostKind | None = None
    """How the cost of the call that this request made is known."""
    saved_nanos: int = 0
    remaining_nanos: int | None = None
    upstream_request_id: str = ""
    cause: str = ""
    paid_by: str = ""
    rate_status: RateStatus | None = None
    cache: CacheStatus | None = None
    """Of a remembered refusal; a reply carries its own."""
    age_seconds: int | None = None
    dry_run: bool = False
    """It is only asked what would happen: it is in no metric, report or history."""
    trace_id: str = ""
    """The id of its OpenTelemetry trace, if any."""

    def stage(self, name: str) -> Stage:
        """A timer for one stage."""
        return Stage(name, self.stages, self.spans)

    def reuse(self, outcome: Outcome, entry: Entry, *, retry: bool) -> None:
        """The request got a picture that another request, or an earlier one, has paid for."""
        self.outcome, self.status = outcome, 200
        self.cost_nanos, self.saved_nanos = 0, entry.cost_nanos or 0
        self.cause = "reuse" if outcome is Outcome.HIT else "coalesced"
        if retry:
            self.cause = "automatic_retry"
        self.paid_by = entry.team

    def refuse(self, refusal: Refusal) -> None:
        """The request was refused, or failed."""
        self.code, self.status = refusal.code, refusal.status
        upstream = refusal.source == "upstream" or refusal.code.startswith("upstream_")
        broke = upstream and refusal.code != "upstream_refused"
        self.outcome = Outcome.FAILED if broke or refusal.status >= 500 else Outcome.REFUSED

    def client_left(self) -> None:
        """The client left before its answer. Proxies log this as 499."""
        self.code, self.status, self.outcome = "client_gone", 499, Outcome.REFUSED

    def facts(self) -> SpanAttributes:
        """The attributes of its span, without prompts, pictures and secrets."""
        cost = self.cost_nanos
        return {
            "http.response.status_code": self.status,
            "gateway.outcome": None if self.dry_run else self.outcome.value,
            "gateway.code": self.code or None,
            "gateway.team": self.caller.team if self.caller else None,
            "gateway.key_id": self.caller.key_id if self.caller else None,
            "gen_ai.request.model": self.model or None,
            "gateway.asked_model": self.asked_model or None,
            "gateway.upstream": self.upstream or None,
            "gateway.fingerprint": self.fingerprint or None,
            "gateway.reference_images": self.references,
            "gateway.cost_usd": None if cost is None else cost / NANOS,
            "gateway.saved_usd": self.saved_nanos / NANOS,
        }

    @property
    def waited_seconds(self) -> float:
        """The time spent waiting for the upstream, a slot there, or another request's flight."""
        return sum(self.stages.get(name, 0.0) for name in WAITING)

    @property
    def seconds(self) -> float:
        """The duration without the time in which the client received the answer."""
        return time.perf_counter() - self.started - self.stages.get("send", 0.0)


def stages_ms(stages: Mapping[str, float]) -> dict[str, float]:
    """The seconds of stages in milliseconds, for the event log."""
    return {name: round(seconds * 1000, 2) for name, seconds in stages.items()}
