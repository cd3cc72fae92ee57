"""The life of a request, one function per stage, in the order in which they run.

`Pipeline.serve` is the sequence; read it from top to bottom. Each stage takes what the one
before it yielded, so none can be left out. Buying a picture, which outlives the request
that asked for it, is `purchase.py`; which flights it may join is `boarding.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from gateway.accounts.authenticator import Authenticator
from gateway.accounts.rate_limiter import RateLimiter
from gateway.accounts.rules.guess_throttle import GuessThrottle
from gateway.cache.result_store import ResultStore, Stored
from gateway.cache.rules.entry import may_serve
from gateway.cache.rules.fingerprint import GENERATIONS_OFF, fingerprint
from gateway.coalescing.broadcast import Broadcast
from gateway.coalescing.single_flight import ClientGone
from gateway.coalescing.stream_subscriber import StreamSubscriber
from gateway.edits.coalescer import Coalescer, JoinResult
from gateway.edits.early_checks import EarlyChecks
from gateway.edits.edit_request import EditRequest
from gateway.edits.flight_result import CallSummary, Failed
from gateway.model.caller import Caller
from gateway.model.edit import Edit, Fingerprint, Route
from gateway.model.errors import Refusal
from gateway.model.outcome import Outcome
from gateway.settings import Settings
from gateway.telemetry.request_record import RequestRecord
from gateway.uploads.reader import read_edit
from gateway.uploads.rules import declared_headers
from gateway.uploads.rules.upload_limits import UploadLimits
from gateway.uploads.spool import Room, Spool
from gateway.upstream.catalogue import Catalogue
from gateway.upstream.rules import model_catalogue as caps
from gateway.wire import cache_directives as directions
from gateway.wire.cache_directives import Directives
from gateway.wire.events import CONTENT_TYPE, completed_events
from gateway.wire.fields import is_streaming, partial_images_asked
from gateway.wire.response_headers import CacheStatus

__all__ = ["Admitted", "ClientGone", "Incoming", "Pipeline", "Reply"]


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request whose body has not been read, and how it is answered.

    `headers` have lower-case names; `chunks` yields the body and may be begun once;
    `gone` returns when the client has left, and is only called once the body is read.
    `begin` sends the head of an answer in pieces and `send` a piece of it: for streams, whose
    reply is then the last piece. `answer` sends a whole answer, or the last piece, and returns
    when the client has taken it.
    """

    route: Route
    headers: Mapping[str, str]
    address: str
    chunks: Callable[[], AsyncIterator[bytes]]
    gone: Callable[[], Awaitable[None]]
    begin: Callable[[Reply], Awaitable[None]]
    send: Callable[[bytes], Awaitable[None]]
    answer: Callable[[Reply], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that may be read: whose it is, and what it asks of the cache."""

    caller: Caller
    directives: Directives
    content_type: str


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with a picture, ready for its headers."""

    body: bytes
    cache: CacheStatus | None
    """None where it is not known yet how it will end."""
    age_seconds: int | None = None
    status: int = 200
    content_type: str = "application/json"


class Pipeline:
    """Every stage, with the parts that they stand on."""

    def __init__(
        self,
        *,
        settings: Settings,
        authenticator: Authenticator,
        traffic: RateLimiter,
        catalogue: Catalogue,
        results: ResultStore,
        coalescer: Coalescer,
        digest: Callable[[bytes], str],
        now_ms: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._authenticator = authenticator
        self._traffic = traffic
        self._catalogue = catalogue
        self._results = results
        self._coalescer = coalescer
        self._digest = digest
        self._now_ms = now_ms
        self._throttle = GuessThrottle()
        self._room = Room(settings.server.spool_bytes)
        self._bounds = UploadLimits(
            max_body_bytes=settings.limits.max_body_bytes,
            max_image_bytes=settings.limits.max_image_bytes,
            max_pixels=settings.limits.max_image_pixels,
        )

    async def serve(self, incoming: Incoming, trace: RequestRecord) -> None:
        """The whole of it. Raises Refusal where the request can't go on.

        A client keeps its place until it has taken its answer, which is held for it so long.
        """
        caller = self.authenticate(incoming, trace)
        admitted = await self.admit(caller, incoming, trace)
        with self._traffic.waiting(caller):
            with Spool(self._room, self._settings.server.spool_folder or None) as spool:
                edit = await self.read(admitted, incoming, spool, trace)
                address = self.fingerprint(edit, admitted, trace)
                hit = await self.look_up(address, admitted, trace)
                if hit:
                    reply = self.respond_hit(hit, admitted, trace)
                else:
                    joined = await self.join(edit, address, admitted, spool, incoming, trace)
                    reply = self.respond_arrival(joined, admitted, trace)
                if is_streaming(edit):
                    reply = await _as_events(reply, edit)
            with trace.stage("send"):
                await incoming.answer(reply)

    # --- authenticate -----------------------------------------------------------------

    def authenticate(self, incoming: Incoming, trace: RequestRecord) -> Caller:
        """Whose request is it? Raises `invalid_api_key`."""
        with trace.stage("authenticate"):
            trace.caller = self.caller_of(incoming.headers, incoming.address)
        return trace.caller

    def caller_of(self, headers: Mapping[str, str], address: str) -> Caller:
        """The caller whose key stands in these headers.

        Raises `invalid_api_key`, and `too_many_failures` for who has sent many such keys: a key
        that is valid always opens, whatever else comes from its address.
        """
        now_ms = self._now_ms()
        try:
            return self._authenticator.authenticate(headers.get("authorization", ""), now_ms)
        except Refusal as refusal:
            if refusal.code == "invalid_api_key":
                self._throttle.failed(address, now_ms)
            raise

    async def caller_asking(self, headers: Mapping[str, str], address: str) -> Caller:
        """The caller of a request that asks for no picture; it counts for the rate all the same."""
        caller = self.caller_of(headers, address)
        await self._traffic.admit(caller, self._now_ms())
        return caller

    # --- admit ------------------------------------------------------------------------

    async def admit(self, caller: Caller, incoming: Incoming, trace: RequestRecord) -> Admitted:
        """May its body be read? Decided by its head alone: rates, directives, sizes."""
        with trace.stage("admit"):
            headers = incoming.headers
            directives = directions.parse(
                headers.get("cache-control", ""),
                headers.get("x-gateway-variant", ""),
                headers.get("x-stainless-retry-count", ""),
            )
            trace.asked = directives.text
            directions.check_bypass(directives, caller)
            content_type = headers.get("content-type", "")
            declared_headers.check_content_type(incoming.route, content_type)
            declared_headers.check_content_encoding(headers.get("content-encoding", ""))
            declared_headers.check_declared_size(
                headers.get("content-length", ""), self._settings.limits.max_body_bytes
            )
            trace.pace = await self._traffic.admit(caller, self._now_ms())
        return Admitted(caller, directives, content_type)

    # --- read -------------------------------------------------------------------------

    async def read(
        self, admitted: Admitted, incoming: Incoming, spool: Spool, trace: RequestRecord
    ) -> Edit:
        """Read the body, refusing as soon as what has come shows that it must be."""
        gate = EarlyChecks(admitted.caller, self._catalogue, incoming.route)
        with trace.stage("read"):
            edit = await read_edit(
                incoming.chunks(),
                admitted.content_type,
                route=incoming.route,
                bounds=self._bounds,
                spool=spool,
                gatekeeper=gate,
            )
            if not await self._catalogue.exists(edit.model):
                raise Refusal(
                    "model_not_found",
                    f"There is no model {edit.model!r}; GET /v1/models lists those there are.",
                    param="model",
                )
            facts = self._catalogue.facts(edit.model)
            caps.check_model(facts, route=edit.route, n=edit.n)
            cap = caps.reference_cap(facts, admitted.caller.accounts)
            caps.check_references(len(edit.references), cap)
            if is_streaming(edit) and edit.n > 1:
                raise Refusal(
                    "unsupported_n",
                    "A stream carries one picture; leave `n` out, or ask without `stream`.",
                    param="n",
                )
        trace.model, trace.body_bytes = edit.model, edit.body_bytes
        trace.references, trace.reference_cap = len(edit.references), cap.count if cap else None
        return edit

    # --- fingerprint ------------------------------------------------------------------

    def fingerprint(self, edit: Edit, admitted: Admitted, trace: RequestRecord) -> Fingerprint:
        """The content address of the edit, among those who may share its result."""
        with trace.stage("fingerprint"):
            address = fingerprint(
                edit,
                scope=_scope(self._settings.cache.scope, admitted.caller),
                upstream=self._settings.upstream.name,
                variant=admitted.directives.variant,
                digest=self._digest,
                cache_generations=self._settings.cache.generations,
            )
        trace.fingerprint = address.key
        trace.extra_digest, trace.uncacheable = address.extra_digest, address.uncacheable or ""
        return address

    # --- look up ----------------------------------------------------------------------

    async def look_up(
        self, address: Fingerprint, admitted: Admitted, trace: RequestRecord
    ) -> Stored | None:
        """The stored result, if there is one that may be served. Raises `not_cached`."""
        directives = admitted.directives
        stored = None
        with trace.stage("look_up"):
            if directives.may_look and not address.uncacheable:
                stored = await self._results.get(address.key)
        if stored and may_serve(stored.entry, self._now_ms(), directives.max_age_seconds):
            return stored
        if stored and directives.max_age_seconds is not None:
            directions.check_too_old(directives, admitted.caller)
        if directives.only_if_cached:
            raise Refusal(
                "not_cached",
                "This edit is not stored (or is older than max-age allows), and only-if-cached "
                "asked not to buy it. Leave out only-if-cached to buy it.",
            )
        return None

    # --- join -------------------------------------------------------------------------

    async def join(
        self,
        edit: Edit,
        address: Fingerprint,
        admitted: Admitted,
        spool: Spool,
        incoming: Incoming,
        trace: RequestRecord,
    ) -> JoinResult:
        """Lead the flight of this edit, or follow it.

        Raises `still_running` where it takes longer than a client can wait, and ClientGone
        where the client leaves first; the flight goes on in both cases.
        """
        request = EditRequest(
            request_id=trace.request_id,
            caller=admitted.caller,
            edit=edit,
            spool=spool,
            fingerprint=address,
            directives=admitted.directives,
        )
        stream = self._stream(request, incoming) if is_streaming(edit) else None
        with trace.stage("join"):
            return await self._coalescer.join(request, incoming.gone, stream)

    def _stream(self, request: EditRequest, incoming: Incoming) -> StreamSubscriber:
        async def begin(led: bool, broadcast: Broadcast) -> None:
            status = _expected(request, led) if broadcast.away else None
            await incoming.begin(Reply(b"", status, content_type=CONTENT_TYPE))

        return StreamSubscriber(
            begin=begin,
            send=incoming.send,
            heartbeat_seconds=self._settings.server.stream_heartbeat_seconds,
            partial_images=partial_images_asked(request.edit),
        )

    # --- respond ----------------------------------------------------------------------

    def respond_hit(self, hit: Stored, admitted: Admitted, trace: RequestRecord) -> Reply:
        """A stored result: it costs nothing."""
        entry, now_ms = hit.entry, self._now_ms()
        trace.save(Outcome.HIT, entry, retry=admitted.directives.retry)
        return Reply(
            body=hit.body,
            cache=CacheStatus(
                Outcome.HIT, key=entry.key, ttl_seconds=max(0, entry.expires_ms - now_ms) // 1000
            ),
            age_seconds=max(0, now_ms - entry.created_ms) // 1000,
            content_type=entry.content_type,
        )

    def respond_arrival(
        self, joined: JoinResult, admitted: Admitted, trace: RequestRecord
    ) -> Reply:
        """What a flight brought, for the one who led it or one who followed. Raises Refusal."""
        result = joined.result
        if joined.led:
            _take_down_flight(result.summary, trace)
        if isinstance(result, Failed):
            self._take_down_crash(result, joined.led, trace)
            raise replace(result.refusal)  # one of its own, that holds no frames of others
        led = joined.led and not result.elsewhere
        if result.found and not result.elsewhere:
            return self.respond_hit(Stored(result.entry, result.shared_body), admitted, trace)
        why_not = result.not_stored_because
        outcome = _outcome(why_not, admitted.directives) if led else Outcome.COALESCED
        trace.outcome, trace.status = outcome, 200
        if not led:
            trace.save(outcome, result.entry, retry=admitted.directives.retry)
        return Reply(
            body=result.body if led else result.shared_body,
            cache=CacheStatus(
                outcome,
                key=result.entry.key,
                stored=result.stored and led,
                ttl_seconds=int(self._settings.cache.ttl) if result.stored else None,
                detail=why_not,
            ),
        )

    def _take_down_crash(self, crash: Failed, led: bool, trace: RequestRecord) -> None:
        """That a failure was another's or an old one: then it cost this one nothing."""
        if not led or crash.recalled:
            trace.cost_nanos = 0
        if crash.recalled and crash.remembered:
            now_ms, known = self._now_ms(), crash.remembered
            trace.cause = "remembered_refusal"
            trace.age_seconds = max(0, now_ms - known.since_ms) // 1000
            trace.cache = CacheStatus(
                Outcome.HIT,
                key=trace.fingerprint,
                ttl_seconds=max(0, known.until_ms - now_ms) // 1000,
                detail=known.detail,
            )


def _scope(scope: str, caller: Caller) -> str:
    """Who shares results: the id of an account."""
    accounts = dict(zip(("organisation", "team", "key"), caller.accounts, strict=True))
    return accounts[scope].id


async def _as_events(reply: Reply, edit: Edit) -> Reply:
    """The reply to a client that asked for a stream: the same as its last event."""
    body = await asyncio.to_thread(completed_events, reply.body, edit.route)
    return replace(reply, body=body, content_type=CONTENT_TYPE)


def _expected(request: EditRequest, led: bool) -> CacheStatus:
    """How it will end, if the call that is in the air brings a picture."""
    key, directives = request.fingerprint.key, request.directives
    if not led:
        return CacheStatus(Outcome.COALESCED, key=key)
    why_not = request.fingerprint.uncacheable or ("no-store" if directives.no_store else "")
    return CacheStatus(_outcome(why_not, directives), key=key, detail=why_not)


def _outcome(not_stored_because: str, directives: Directives) -> Outcome:
    """How it ended for the one who bought it."""
    if not_stored_because in ("no-store", GENERATIONS_OFF):
        return Outcome.BYPASS
    return Outcome.REFRESHED if directives.no_cache else Outcome.MISS


def _take_down_flight(summary: CallSummary, trace: RequestRecord) -> None:
    """What the flight did, in the record of the request that led it."""
    trace.stages.pop("join", None)
    trace.stages.update(summary.stages)
    trace.upstream_request_id = summary.upstream_request_id
    if summary.settled:
        trace.cost_nanos = summary.settled.cost_nanos
        trace.estimated = summary.settled.estimated
        trace.remaining_nanos = summary.settled.remaining_nanos
