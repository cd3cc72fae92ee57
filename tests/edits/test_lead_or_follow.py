"""What boarding keeps for retries, and for how much."""

from __future__ import annotations

import asyncio

from gateway.coalescing.flights import SingleFlight
from gateway.coalescing.rules.failure_memory import Remembered
from gateway.coalescing.rules.retry_results import RetryResults
from gateway.edits.edit_request import EditRequest
from gateway.edits.flight_result import Failed, FlightResult
from gateway.edits.lead_or_follow import Coalescer
from gateway.model.caller import Account, Caller
from gateway.model.edit import Edit, Fingerprint
from gateway.model.errors import Refusal
from gateway.uploads.spool import Spool
from gateway.upstream.rules.routing import Target
from gateway.wire.cache_directives import Directives

NOW = 1_800_000_000_000
CALLER = Caller(
    "key_1",
    "first",
    "design",
    Account("organisation", "organisation", "organisation"),
    Account("team:design", "team", "design"),
    Account("key:key_1", "key", "first"),
)


def request(extra_digest: str = "", **directives: bool) -> EditRequest:
    return EditRequest(
        request_id="r",
        caller=CALLER,
        edit=Edit("edits", "m", ()),
        spool=Spool(),
        fingerprint=Fingerprint("v1-k", extra_digest=extra_digest),
        directives=Directives(**directives),  # type: ignore[arg-type]
        target=Target("u", "m", "m"),
    )


class Upstream:
    """A flight that is refused with a long error, and counts."""

    def __init__(self) -> None:
        self.calls = 0

    async def buy(self, asked: EditRequest) -> FlightResult:
        self.calls += 1
        refusal = Refusal("upstream_refused", "no", status_override=400, body=b"x" * 10_000)
        remembered = Remembered(refusal, NOW, NOW + 60_000)
        return Failed(refusal, remembered=remembered, extra_digest=asked.fingerprint.extra_digest)


async def stays() -> None:
    await asyncio.Event().wait()


async def test_what_is_kept_for_retries_counts_the_bytes_of_refusals() -> None:
    upstream, retries = Upstream(), RetryResults[FlightResult]()
    coalescer = coalescer_of(upstream, retries)

    await coalescer.join(request(no_cache=True), stays)

    assert 10_000 < retries.kept_bytes < 20_000
    await coalescer.join(request(no_cache=True, retry=True), stays)
    assert upstream.calls == 1


async def test_a_retry_that_sends_other_fields_beside_is_another_request() -> None:
    upstream = Upstream()
    coalescer = coalescer_of(upstream, RetryResults())

    await coalescer.join(request("ann", no_cache=True), stays)
    await coalescer.join(request("bob", no_cache=True, retry=True), stays)

    assert upstream.calls == 2


def coalescer_of(upstream: Upstream, retries: RetryResults[FlightResult]) -> Coalescer:
    return Coalescer(
        flights=SingleFlight(),
        buy=upstream.buy,
        client_wait_seconds=5,
        now_ms=lambda: NOW,
        retries=retries,
    )
