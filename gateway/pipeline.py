"""The life of a request, one function per stage, in the order in which they run.

`Pipeline.serve` is the sequence; read it from top to bottom. Each stage takes what the one
before it yielded, so none can be left out. Buying a picture, which outlives the request
that asked for it, is `purchase.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass

from gateway.catalogue import Catalogue
from gateway.edges.body import read_edit
from gateway.edges.spool import Spool
from gateway.errors import Refusal
from gateway.flights import Flight, Flights
from gateway.keyring import Keyring
from gateway.model import Caller, Edit, Fingerprint, ModelFacts, Outcome, Route
from gateway.purchase import Buyer, Crash, Flown, Landing, Order, Picture
from gateway.results import Results, Stored
from gateway.rules import admission
from gateway.rules import catalogue as caps
from gateway.rules import directives as directions
from gateway.rules.bounds import Bounds
from gateway.rules.directives import Directives
from gateway.rules.entries import may_serve
from gateway.rules.fields import is_streaming
from gateway.rules.fingerprint import GENERATIONS_OFF, fingerprint
from gateway.rules.headers import CacheStatus
from gateway.settings import Settings
from gateway.trace import Trace
from gateway.traffic import Traffic


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request whose body has not been read.

    `headers` have lower-case names; `chunks` yields the body and may be begun once;
    `gone` returns when the client has left, and is only called once the body is read.
    """

    route: Route
    headers: Mapping[str, str]
    address: str
    chunks: Callable[[], AsyncIterator[bytes]]
    gone: Callable[[], Awaitable[None]]


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
    cache: CacheStatus
    age_seconds: int | None = None
    status: int = 200
    content_type: str = "application/json"


class ClientGone(Exception):
    """The client left while it waited; its flight goes on."""


class Pipeline:
    """Every stage, with the parts that they stand on."""

    def __init__(
        self,
        *,
        settings: Settings,
        keyring: Keyring,
        traffic: Traffic,
        catalogue: Catalogue,
        results: Results,
        flights: Flights[Landing],
        buyer: Buyer,
        digest: Callable[[bytes], str],
        now_ms: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._keyring = keyring
        self._traffic = traffic
        self._catalogue = catalogue
        self._results = results
        self._flights = flights
        self._buyer = buyer
        self._digest = digest
        self._now_ms = now_ms
        self._bounds = Bounds(
            max_body_bytes=settings.limits.max_body_bytes,
            max_image_bytes=settings.limits.max_image_bytes,
            max_pixels=settings.limits.max_image_pixels,
        )

    async def serve(self, incoming: Incoming, trace: Trace) -> Reply:
        """The whole of it. Raises Refusal where the request can't go on."""
        caller = self.authenticate(incoming, trace)
        async with self.admit(caller, incoming, trace) as admitted:
            with self._spool() as spool:
                edit = await self.read(admitted, incoming, spool, trace)
                address = self.fingerprint(edit, admitted, trace)
                hit = await self.look_up(address, admitted, trace)
                if hit:
                    return self.respond_hit(hit, trace)
                landing, led = await self.join(edit, address, admitted, spool, incoming, trace)
                return self.respond_landing(landing, led, admitted, trace)

    # --- authenticate -----------------------------------------------------------------

    def authenticate(self, incoming: Incoming, trace: Trace) -> Caller:
        """Whose request is it? Raises `invalid_api_key`."""
        with trace.stage("authenticate"):
            trace.caller = self.caller_of(incoming.headers)
        return trace.caller

    def caller_of(self, headers: Mapping[str, str]) -> Caller:
        """The caller whose key stands in these headers. Raises `invalid_api_key`."""
        return self._keyring.authenticate(headers.get("authorization", ""), self._now_ms())

    # --- admit ------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def admit(
        self, caller: Caller, incoming: Incoming, trace: Trace
    ) -> AsyncIterator[Admitted]:
        """May its body be read? Decided by its head alone: rates, directives, sizes."""
        with trace.stage("admit"):
            headers = incoming.headers
            directives = directions.parse(
                headers.get("cache-control", ""), headers.get("x-gateway-variant", "")
            )
            directions.check_bypass(directives, caller)
            content_type = headers.get("content-type", "")
            admission.check_content_type(incoming.route, content_type)
            admission.check_declared_size(
                headers.get("content-length", ""), self._settings.limits.max_body_bytes
            )
            trace.pace = await self._traffic.admit(caller, self._now_ms())
        with self._traffic.waiting(caller):
            yield Admitted(caller, directives, content_type)

    # --- read -------------------------------------------------------------------------

    @contextlib.contextmanager
    def _spool(self) -> Iterator[Spool]:
        """A spool that ends with the request, unless a flight still holds it."""
        server = self._settings.server
        spool = Spool(server.spool_bytes, server.spool_folder or None)
        try:
            yield spool
        finally:
            spool.close()

    async def read(
        self, admitted: Admitted, incoming: Incoming, spool: Spool, trace: Trace
    ) -> Edit:
        """Read the body, refusing as soon as what has come shows that it must be."""
        gate = Gate(admitted.caller, self._catalogue, incoming.route)
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
            if is_streaming(edit):
                raise Refusal(
                    "invalid_field",
                    "stream=true is not served here yet; leave it out and read the whole answer.",
                    param="stream",
                )
        trace.model, trace.body_bytes = edit.model, edit.body_bytes
        trace.references, trace.reference_cap = len(edit.references), cap.count if cap else None
        return edit

    # --- fingerprint ------------------------------------------------------------------

    def fingerprint(self, edit: Edit, admitted: Admitted, trace: Trace) -> Fingerprint:
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
        return address

    # --- look up ----------------------------------------------------------------------

    async def look_up(
        self, address: Fingerprint, admitted: Admitted, trace: Trace
    ) -> Stored | None:
        """The stored result, if there is one that may be served. Raises `not_cached`."""
        directives = admitted.directives
        stored = None
        with trace.stage("look_up"):
            if directives.may_look and not address.uncacheable:
                stored = await self._results.get(address.key)
        if stored and may_serve(stored.entry, self._now_ms(), directives.max_age_seconds):
            return stored
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
        trace: Trace,
    ) -> tuple[Landing, bool]:
        """Lead the flight of this edit, or follow it; True where this request led.

        Raises `still_running` where it takes longer than a client can wait, and ClientGone
        where the client leaves first; the flight goes on in both cases.
        """
        order = Order(
            request_id=trace.request_id,
            caller=admitted.caller,
            edit=edit,
            spool=spool,
            fingerprint=address,
            directives=admitted.directives,
        )
        deadline = asyncio.get_running_loop().time() + self._settings.server.client_wait_seconds
        with trace.stage("join"):
            while True:
                flight, led = self._board(order)
                landing = await _wait(flight, incoming, deadline)
                if led or isinstance(landing, Picture) or not landing.leaders_own:
                    return landing, led

    def _board(self, order: Order) -> tuple[Flight[Landing], bool]:
        """The flight to wait for: one that is in the air already, or a new one."""

        async def fly() -> Landing:
            return await self._buyer.buy(order)

        def start(key: str) -> tuple[Flight[Landing], bool]:
            order.spool.share()
            return self._flights.start(fly, key), True

        key, directives = order.fingerprint.key, order.directives
        fresh_key = f"fresh:{key}"
        if directives.no_store:
            return start("")
        if directives.no_cache:
            following = self._flights.follow(fresh_key)
            return (following, False) if following else start(fresh_key)
        following = self._flights.follow(key) or self._flights.follow(fresh_key)
        return (following, False) if following else start(key)

    # --- respond ----------------------------------------------------------------------

    def respond_hit(self, hit: Stored, trace: Trace) -> Reply:
        """A stored result: it costs nothing."""
        entry, now_ms = hit.entry, self._now_ms()
        trace.cost_nanos, trace.saved_nanos = 0, entry.cost_nanos or 0
        trace.outcome, trace.status, trace.cause = Outcome.HIT, 200, "reuse"
        trace.paid_by = entry.team
        return Reply(
            body=hit.body,
            cache=CacheStatus(
                Outcome.HIT, key=entry.key, ttl_seconds=max(0, entry.expires_ms - now_ms) // 1000
            ),
            age_seconds=max(0, now_ms - entry.created_ms) // 1000,
            content_type=entry.content_type,
        )

    def respond_landing(
        self, landing: Landing, led: bool, admitted: Admitted, trace: Trace
    ) -> Reply:
        """What a flight brought, for the one who led it or one who followed."""
        if led:
            _take_down(landing.flown, trace)
        if isinstance(landing, Crash):
            raise landing.refusal
        if landing.found:
            return self.respond_hit(Stored(landing.entry, landing.shared_body), trace)
        outcome = _outcome(led, landing, admitted.directives)
        trace.outcome, trace.status = outcome, 200
        if not led:
            trace.cost_nanos, trace.saved_nanos = 0, landing.entry.cost_nanos or 0
            trace.cause, trace.paid_by = "coalesced", landing.entry.team
        return Reply(
            body=landing.body if led else landing.shared_body,
            cache=CacheStatus(
                outcome,
                key=landing.entry.key,
                stored=landing.stored and led,
                ttl_seconds=int(self._settings.cache.ttl) if landing.stored else None,
                detail=landing.not_stored_because,
            ),
        )


class Gate:
    """Refuses an edit while it is still being read, as soon as that can be known."""

    def __init__(self, caller: Caller, catalogue: Catalogue, route: Route) -> None:
        self._caller = caller
        self._catalogue = catalogue
        self._route = route
        listing = catalogue.listing
        largest = listing.largest_cap if listing else None
        facts = ModelFacts("any model", max_reference_images=largest)
        self._cap = caps.reference_cap(facts, caller.accounts)

    def model_known(self, model: str) -> None:
        """The model has come: may it be used, can it edit, and how many references?"""
        caps.check_model_allowed(model, self._caller.accounts)
        facts = self._catalogue.facts(model)
        caps.check_model(facts, route=self._route, n=1)
        if facts or self._catalogue.listing is None:
            self._cap = caps.reference_cap(facts, self._caller.accounts)

    def reference_seen(self, count: int) -> None:
        """The head of the count-th reference has come."""
        caps.check_references(count, self._cap)


async def _wait(flight: Flight[Landing], incoming: Incoming, deadline: float) -> Landing:
    gone = asyncio.ensure_future(incoming.gone())
    patience = deadline - asyncio.get_running_loop().time()
    try:
        await asyncio.wait(
            {flight.task, gone}, timeout=max(0.0, patience), return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        gone.cancel()
    if flight.task.done():
        return flight.task.result()
    if gone.done() and not gone.cancelled():
        raise ClientGone
    raise Refusal(
        "still_running",
        "This edit is still being made. Send the same request again: it joins the one that is "
        "running and is not paid for twice.",
        retry_after_seconds=1,
    )


def _scope(scope: str, caller: Caller) -> str:
    """Who shares results: the id of an account."""
    accounts = dict(zip(("organisation", "team", "key"), caller.accounts, strict=True))
    return accounts[scope].id


def _outcome(led: bool, picture: Picture, directives: Directives) -> Outcome:
    if not led:
        return Outcome.COALESCED
    if picture.not_stored_because in ("no-store", GENERATIONS_OFF):
        return Outcome.BYPASS
    return Outcome.REFRESHED if directives.no_cache else Outcome.MISS


def _take_down(flown: Flown, trace: Trace) -> None:
    """What the flight did, in the record of the request that led it."""
    trace.stages.pop("join", None)
    trace.stages.update(flown.stages)
    trace.upstream_seconds = flown.upstream_seconds
    trace.upstream_request_id = flown.upstream_request_id
    if flown.settled:
        trace.cost_nanos = flown.settled.cost_nanos
        trace.remaining_nanos = flown.settled.remaining_nanos
