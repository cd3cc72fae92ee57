"""The life of a request, one function per stage, in the order in which they run.

Read `Pipeline.serve` from top to bottom. Each stage takes the result of the one before it, so
that none can be left out. `purchase` buys a picture and outlives the request; `lead_or_follow`
joins the requests that share one purchase. The last stage, `record`, is the caller's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import NamedTuple

from gateway.accounts.authenticator import Authenticator
from gateway.accounts.rate_limiter import RateLimiter
from gateway.accounts.rules.end_users import Pseudonyms, check_named, sent_name
from gateway.accounts.rules.guess_throttle import GuessThrottle
from gateway.cache.picture_links import PictureLinks
from gateway.cache.result_store import Stored
from gateway.cache.rules.fingerprint import Sharing, previous_keys
from gateway.cache.rules.fingerprint import fingerprint as fingerprint_of
from gateway.coalescing.broadcast import Broadcast
from gateway.coalescing.stream_subscriber import StreamSubscriber
from gateway.edits.early_checks import EarlyChecks
from gateway.edits.edit_request import Admitted, EditRequest, Incoming, Reply
from gateway.edits.flight_result import Found, stored_entry
from gateway.edits.lead_or_follow import Coalescer, JoinResult
from gateway.edits.presentation import Presentation, as_bought, linked, presentation_of
from gateway.edits.quotation import Quotation, Would
from gateway.edits.quote import Quoter, quotation_of_hit
from gateway.edits.respond import expected_status, reply_to
from gateway.edits.result_cache import ResultCache
from gateway.edits.upstream import Upstream
from gateway.model.caller import Caller, Level
from gateway.model.edit import Edit, Fingerprint
from gateway.model.errors import Refusal
from gateway.telemetry.request_record import RequestRecord
from gateway.uploads.reader import read_edit
from gateway.uploads.rules.upload_limits import (
    UploadLimits,
    check_content_encoding,
    check_content_type,
    check_declared_size,
    check_formats,
)
from gateway.uploads.spool import Spool, SpoolMemory
from gateway.uploads.uploaded_file import digest
from gateway.upstream.catalogues import Catalogues
from gateway.upstream.rules import model_limits
from gateway.upstream.rules.routing import ModelRoute, Target, usable
from gateway.wire import cache_directives, preference
from gateway.wire.changed_field import with_model
from gateway.wire.events import CONTENT_TYPE, completed_events
from gateway.wire.request_fields import is_streaming, partial_images_asked


@dataclass(frozen=True, slots=True)
class FingerprintScope:
    """What a fingerprint covers besides the edit: who may share it, and at which upstream."""

    level: Level
    generations: bool
    """Whether generations are cached."""

    def of(self, admitted: Admitted, upstream: str) -> Sharing:
        account = next(a for a in admitted.caller.accounts if a.level == self.level)
        return Sharing(account.id, upstream, admitted.directives.variant)


class ReadEdit(NamedTuple):
    """An edit as it is bought, how its pictures are presented, and where it may be bought."""

    edit: Edit
    presentation: Presentation
    route: ModelRoute


@dataclass(frozen=True, kw_only=True, slots=True)
class Pipeline:
    """The stages of a request."""

    authenticator: Authenticator
    rates: RateLimiter
    pseudonyms: Pseudonyms
    catalogues: Catalogues
    upstreams: Mapping[str, Upstream]
    cache: ResultCache
    coalescer: Coalescer
    quoter: Quoter
    limits: UploadLimits
    spool_memory: SpoolMemory
    spool_folder: str | None
    scope: FingerprintScope
    obey_cache_control: bool
    heartbeat_seconds: float
    links: PictureLinks
    now_ms: Callable[[], int]
    sandbox: bool
    """Whether it serves sandbox keys, or all others."""
    _throttle: GuessThrottle = field(init=False, default_factory=GuessThrottle)

    async def serve(self, incoming: Incoming, record: RequestRecord) -> None:
        """Every stage. Raises Refusal where the request cannot go on.

        The request counts as in flight until the client has received its answer.
        """
        await self.serve_caller(self.authenticate(incoming, record), incoming, record)

    async def serve_caller(self, caller: Caller, incoming: Incoming, record: RequestRecord) -> None:
        """Every stage of a caller whose key is known."""
        record.caller = caller
        self._check_served(caller)
        admitted = await self.admit(caller, incoming, record)
        with self.rates.waiting(caller):
            with Spool(self.spool_memory, self.spool_folder) as spool:
                if admitted.dry_run:
                    await incoming.tell(await self.quote(admitted, incoming, spool, record))
                    return
                request = await self.understand(admitted, incoming, spool, record)
                hit = await self.look_up(request, record)
                if _answers_later(request.edit, admitted) and not hit and incoming.accept:
                    incoming = await incoming.accept()
                joined = hit or await self.join(request, incoming, record)
                reply = await self.respond(joined, request, record, given_later=not incoming.waits)
            with record.stage("send"):
                await incoming.answer(reply)

    async def understand(
        self, admitted: Admitted, incoming: Incoming, spool: Spool, record: RequestRecord
    ) -> EditRequest:
        """`read`, `identify` and `fingerprint`."""
        found = await self.read(admitted, incoming, spool, record)
        admitted = self.identify(admitted, found.edit, incoming, record)
        if _answers_later(found.edit, admitted):
            upstream_urls = found.presentation is Presentation.UPSTREAM_URLS
            preference.check_presentation(upstream_urls=upstream_urls)
        return self.fingerprint(found, admitted, spool, record)

    def authenticate(self, incoming: Incoming, record: RequestRecord) -> Caller:
        """The caller whose key the request carries. Raises `invalid_api_key`."""
        with record.stage("authenticate"):
            record.caller = self.caller_of(incoming.headers, incoming.address)
        return record.caller

    def caller_of(self, headers: Mapping[str, str], ip_address: str) -> Caller:
        """The caller of any route.

        Raises `invalid_api_key`, or `too_many_failures` after many invalid keys from one
        address. A valid key is accepted in any case. Raises `sandbox_unavailable` for a sandbox
        key that is not in the sandbox: it must buy nothing.
        """
        now_ms = self.now_ms()
        try:
            caller = self.authenticator.authenticate(
                headers.get("authorization", ""), now_ms, headers.get("api-key", "")
            )
        except Refusal as refusal:
            if refusal.code == "invalid_api_key":
                self._throttle.failed(ip_address, now_ms)
            raise
        self._check_served(caller)
        return caller

    def _check_served(self, caller: Caller) -> None:
        if caller.sandbox != self.sandbox:
            raise Refusal("sandbox_unavailable", "The sandbox is starting or stopping: try again.")

    async def caller_asking(self, headers: Mapping[str, str], ip_address: str) -> Caller:
        """The caller of a request without a picture. It counts for the request rate too."""
        caller = self.caller_of(headers, ip_address)
        await self.rates.admit(caller, self.now_ms())
        return caller

    async def admit(self, caller: Caller, incoming: Incoming, record: RequestRecord) -> Admitted:
        """Checks everything that the head alone decides: directives, sizes, rates."""
        with record.stage("admit"):
            headers = incoming.headers
            dry_run = record.dry_run = cache_directives.wants_quote(headers)
            directives = cache_directives.parse(headers, caller, obey_plain=self.obey_cache_control)
            record.cache_control_text = directives.text
            record.cache_control_ignored = directives.ignored
            cache_directives.check_bypass(directives, caller)
            later = preference.prefers_async(headers)
            if later:
                preference.check_kept(stores=directives.stores)
            content_type = headers.get("content-type", "")
            check_content_type(incoming.route, content_type)
            check_content_encoding(headers.get("content-encoding", ""))
            check_declared_size(headers.get("content-length", ""), self.limits.max_body_bytes)
            record.rate_status = await self.rates.admit(caller, self.now_ms())
        return Admitted(caller, directives, content_type, dry_run, later)

    async def read(
        self, admitted: Admitted, incoming: Incoming, spool: Spool, record: RequestRecord
    ) -> ReadEdit:
        """Reads the body, and refuses as early as the bytes read so far permit.

        The targets are those that the edit can be sent to.
        """
        caller = admitted.caller
        checks = EarlyChecks(caller, self.catalogues, incoming.route, record)
        with record.stage("read"):
            edit = await read_edit(
                incoming.chunks(),
                admitted.content_type,
                route=incoming.route,
                limits=self.limits,
                spool=spool,
                checks=checks,
            )
            model_limits.check_images(edit.n, caller.accounts)
            presentation = presentation_of(edit, linkable=self._can_link(edit, admitted))
            edit = as_bought(edit, presentation)
            route = checks.model_route or await self.catalogues.find(edit.model)
            targets = tuple(usable(route.targets, partial(self._check, edit, caller)))
            facts = self.catalogues.facts(targets[0], edit.model)
            cap = model_limits.reference_limit(facts, caller.accounts)
            if is_streaming(edit) and edit.n > 1:
                raise Refusal(
                    "unsupported_n",
                    "A stream carries one picture: leave out `n` or `stream`.",
                    param="n",
                )
        record.model, record.body_bytes = targets[0].model, edit.body_bytes
        record.asked_model = edit.model if edit.model != record.model else ""
        record.references, record.reference_cap = len(edit.references), cap.count if cap else None
        return ReadEdit(edit, presentation, replace(route, targets=targets))

    def _can_link(self, edit: Edit, admitted: Admitted) -> bool:
        """Will its result be stored, or its answer be kept, and can links be made?"""
        is_cached = edit.route == "edits" or self.scope.generations
        is_kept = is_cached or _answers_later(edit, admitted)
        return self.links.enabled and is_kept and admitted.directives.stores

    def identify(
        self, admitted: Admitted, edit: Edit, incoming: Incoming, record: RequestRecord
    ) -> Admitted:
        """The request of the end user whom it names. Raises `missing_field` where it must."""
        name = self.pseudonyms.of(sent_name(incoming.headers, edit.fields))
        if name:
            record.caller = replace(admitted.caller, end_user=name)
            return replace(admitted, caller=record.caller)
        check_named(admitted.caller)
        return admitted

    def _check(self, edit: Edit, caller: Caller, target: Target) -> None:
        """Raises Refusal where the target can't make this edit."""
        upstream, facts = self.upstreams[target.upstream], self.catalogues.facts(target, edit.model)
        model_limits.check_model(facts, route=edit.route, n=edit.n)
        cap = model_limits.reference_limit(facts, caller.accounts)
        model_limits.check_references(len(edit.references), cap)
        upstream.adapter.check(edit)
        check_formats(edit, upstream.picture_formats)

    def fingerprint(
        self, found: ReadEdit, admitted: Admitted, spool: Spool, record: RequestRecord
    ) -> EditRequest:
        """The request at its targets, each with a fingerprint among those who may share results."""
        edit, presentation, route = found
        with record.stage("fingerprint"):
            edits = [with_model(edit, target.name) for target in route.targets]
            fingerprints = list(map(partial(self._fingerprint, admitted), edits, route.targets))
            keys = [fingerprint.key for fingerprint in fingerprints]
            at_first, *fallbacks = [
                EditRequest(
                    record.request_id,
                    admitted.caller,
                    sent,
                    spool,
                    fingerprint,
                    admitted.directives,
                    target,
                    asked_model=edit.model,
                    other_keys=tuple(key for key in keys if key != fingerprint.key),
                    equivalent=route.equivalent,
                    presentation=presentation,
                    previous_keys=cache(partial(self._previous_keys, sent, target, admitted)),
                )
                for sent, fingerprint, target in zip(
                    edits, fingerprints, route.targets, strict=True
                )
            ]
        record.fingerprint, record.extra_digest = keys[0], fingerprints[0].extra_digest
        record.uncacheable = fingerprints[0].uncacheable or ""
        return at_first.with_fallbacks(fallbacks) if fallbacks else at_first

    def _fingerprint(self, admitted: Admitted, edit: Edit, target: Target) -> Fingerprint:
        upstream = self.upstreams[target.upstream]
        return fingerprint_of(
            edit,
            self.scope.of(admitted, upstream.fingerprint_name),
            digest=digest,
            facts=upstream.adapter.facts,
            cache_generations=self.scope.generations,
        )

    def _previous_keys(self, edit: Edit, target: Target, admitted: Admitted) -> tuple[str, ...]:
        """The keys of the edit in the previous version's fingerprint."""
        return previous_keys(edit, self.scope.of(admitted, target.upstream), digest)

    async def look_up(self, request: EditRequest, record: RequestRecord) -> JoinResult | None:
        """The stored result, if it may be served. Raises `not_cached`."""
        directives = request.directives
        with record.stage("look_up"):
            stored = await self._find(request)
        if stored and self.cache.may_serve(stored, request):
            return JoinResult(Found(stored), led=False)
        if stored and directives.max_age_seconds is not None:
            cache_directives.check_too_old(directives, request.caller)
        if directives.only_if_cached:
            raise Refusal(
                "not_cached",
                "This edit is not stored, or is older than max-age allows, and only-if-cached "
                "forbids buying it. Leave out only-if-cached to buy it.",
            )
        return None

    async def _find(self, request: EditRequest) -> Stored | None:
        """The result at the first target, or at the next one while it makes no calls."""
        found = None
        for each in request.at_targets:
            stored = await self.cache.find(each, previous=True)
            if stored and self.cache.may_serve(stored, each):
                return stored
            found = found or stored
            if each.equivalent or not self.upstreams[each.target.upstream].limiter.makes_no_calls:
                break
        return found

    async def quote(
        self, admitted: Admitted, incoming: Incoming, spool: Spool, record: RequestRecord
    ) -> Quotation:
        """What would happen to the request, instead of it."""
        try:
            request = await self.understand(admitted, incoming, spool, record)
            hit = await self.look_up(request, record)
            found = quotation_of_hit(hit.result) if hit else await self.quoter.quote(request)
        except Refusal as refusal:
            found = Quotation(Would.REFUSED, record.model, record.fingerprint, refusal=refusal)
        left = await self.quoter.left(record.caller or admitted.caller)
        return replace(found, left=left)

    async def join(
        self, request: EditRequest, incoming: Incoming, record: RequestRecord
    ) -> JoinResult:
        """Leads the flight of this edit, or follows it.

        Raises `still_running` and ClientDisconnected; the flight goes on in both cases.
        """
        stream = self._stream(request, incoming, record) if is_streaming(request.edit) else None
        with record.stage("join"):
            return await self.coalescer.join(
                request, incoming.gone, stream, patient=not incoming.waits
            )

    def _stream(
        self, request: EditRequest, incoming: Incoming, record: RequestRecord
    ) -> StreamSubscriber:
        async def begin(led: bool, broadcast: Broadcast) -> None:
            answering = broadcast.is_open or not request.fallbacks
            record.upstream = broadcast.upstream if broadcast.is_open else ""
            key = broadcast.key if answering else ""  # else the next target may answer yet
            status = expected_status(request, key, led) if broadcast.is_sent else None
            await incoming.begin(Reply(b"", status, content_type=CONTENT_TYPE))

        return StreamSubscriber(
            begin=begin,
            send=incoming.send,
            heartbeat_seconds=self.heartbeat_seconds,
            partials_left=partial_images_asked(request.edit),
        )

    async def respond(
        self, joined: JoinResult, request: EditRequest, record: RequestRecord, *, given_later: bool
    ) -> Reply:
        """The reply, as events where a stream was requested. Raises Refusal."""
        ttl_seconds = int(self.cache.ttl_seconds)
        reply = reply_to(joined, request, record, now_ms=self.now_ms(), ttl_seconds=ttl_seconds)
        if given_later:
            return replace(reply, linked=request.presentation is Presentation.LINKS)
        if request.presentation is Presentation.LINKS and (entry := stored_entry(joined.result)):
            body = await asyncio.to_thread(linked, reply.body, entry, self.links)
            reply = replace(reply, body=body)
        if not is_streaming(request.edit):
            return reply
        body = await asyncio.to_thread(completed_events, reply.body, request.edit.route)
        return replace(reply, body=body, content_type=CONTENT_TYPE)


def _answers_later(edit: Edit, admitted: Admitted) -> bool:
    """Is an answer later preferred? A stream is answered as it comes."""
    return admitted.answers_later and not is_streaming(edit)
