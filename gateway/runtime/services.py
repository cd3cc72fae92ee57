"""The parts of a gateway that edits are made with, grouped by subject.

Each group builds itself from the settings. Nothing is started here.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from gateway.alerts.budget_monitor import BudgetMonitor
from gateway.alerts.delivery import Delivery
from gateway.alerts.outage_monitor import OutageMonitor
from gateway.cache.invalidation import Invalidation
from gateway.cache.picture_links import PictureLinks
from gateway.coalescing.flights import SingleFlight
from gateway.coalescing.lease_transaction import Leases
from gateway.coalescing.lease_watcher import LeaseWatcher
from gateway.database import documents
from gateway.edits.flight_result import FlightResult
from gateway.gallery.gallery import Gallery
from gateway.gallery.inputs import Inputs
from gateway.ledger.budget_service import BudgetService
from gateway.model.edit import ModelFacts
from gateway.reports.scheduler import ReportScheduler
from gateway.runtime.backends import (
    open_answers,
    open_mail,
    open_results,
    open_upstream,
    open_webhooks,
    routing_of,
)
from gateway.runtime.process_context import ProcessContext
from gateway.settings import Settings, UpstreamSettings
from gateway.upstream.limiter import UpstreamLimiter
from gateway.upstream.model_catalogue import Catalogue
from gateway.upstream.rules.circuit_breaker import CircuitBreaker
from gateway.upstream.rules.fair_queue import FairQueue
from gateway.upstream.rules.routing import Target


class UpstreamServices:
    """The client of an upstream, and what is known of the upstream."""

    def __init__(self, context: ProcessContext, settings: UpstreamSettings) -> None:
        metrics, log = context.metrics, context.log
        self._context, self._document = context, f"catalogue:{settings.name}"
        self.settings = settings
        self.client = client = open_upstream(context.settings, settings.name)
        self.limiter = UpstreamLimiter(
            upstream=settings.name,
            queue=FairQueue(settings.max_connections, settings.max_waiting),
            queue_seconds=settings.queue_seconds,
            circuit=CircuitBreaker(settings.circuit_failures, settings.circuit_seconds),
            backoff_seconds=lambda: client.backoff_seconds,
            metrics=metrics,
            log=log,
            now_ms=context.clock,
        )
        self.catalogue = Catalogue(
            fetch=client.models,
            keep=self._store_catalogue,
            overrides=_model_overrides(context.settings, settings.name),
            clock=time.monotonic,
            on_failure=lambda text: log.warning("catalogue", upstream=settings.name, detail=text),
            on_models=metrics.learn_models,
        )

    async def stored_catalogue(self) -> bytes | None:
        """The last good catalogue, as the state has it. Raises StateUnavailable."""
        found = await self._context.database.read(
            lambda tx: documents.read_document(tx, self._document)
        )
        return found.body.encode() if found else None

    async def _store_catalogue(self, body: bytes) -> None:
        text, at_ms = body.decode("utf-8"), self._context.clock()
        await self._context.database.write(
            lambda tx: documents.save_document(tx, self._document, text, at_ms), urgent=False
        )


def close_limiters(upstreams: Iterable[UpstreamServices]) -> None:
    """Make no more calls."""
    for upstream in upstreams:
        upstream.limiter.close()


def _model_overrides(settings: Settings, upstream: str) -> dict[str, ModelFacts]:
    """What the settings say of models, by the upstream's own names of them."""
    facts = {}
    for model, section in settings.models.items():
        targets = [Target.parse(text, model) for text in section.targets]
        names = [each.name for each in targets if each.upstream == upstream]
        given = (section.edit_supported, section.max_reference_images, section.max_n)
        facts.update({name: ModelFacts(name, *given) for name in names or [model]})
    return {name: override for name, override in facts.items() if override != ModelFacts(name)}


class CacheServices:
    """The result store, its invalidation between processes, and links to its pictures."""

    def __init__(self, context: ProcessContext) -> None:
        self.results = open_results(context.settings)
        self.invalidation = Invalidation(
            database=context.database,
            results=self.results,
            now_ms=context.clock,
            interval_seconds=context.settings.state.refresh_seconds,
            on_failure=context.on_failure,
        )
        self.answers = open_answers(
            context.settings, context.database, context.owner.id, context.clock
        )
        console = context.settings.console
        shown = console.enabled and console.gallery
        self.inputs = Inputs(
            enabled=shown,
            by_default=console.keep_inputs,
            days=console.keep_inputs_days,
            results=self.results,
            database=context.database,
            now_ms=context.clock,
            on_failure=context.on_failure,
        )
        self.gallery = Gallery(
            enabled=shown,
            inputs=self.inputs,
            database=context.database,
            now_ms=context.clock,
            on_failure=context.on_failure,
        )
        self.links = PictureLinks(
            database=context.database,
            public_url=context.settings.server.public_url,
            link_seconds=context.settings.cache.link_seconds,
            share_seconds=context.settings.console.share_link_seconds
            if self.gallery.enabled
            else 0.0,
            now_ms=context.clock,
            on_failure=context.on_failure,
        )


class CoalescingServices:
    """Flights of this process, and leases between processes."""

    def __init__(self, context: ProcessContext) -> None:
        settings = context.settings
        self.flights = SingleFlight[FlightResult]()
        self.leases = Leases(
            database=context.database,
            owner_id=context.owner.id,
            now_ms=context.clock,
            max_age_ms=settings.longest_flight_ms,
            storing_ms=int(1000 * (2 * settings.cache.timeout_seconds + 1)),
            on_failure=context.on_failure,
        )
        self.lease_watcher = LeaseWatcher(
            database=context.database,
            now_ms=context.clock,
            silent_seconds=settings.state.lease_seconds,
        )


class BudgetServices:
    """Reservations and settlements, alerts of budgets and upstreams, reports."""

    def __init__(self, context: ProcessContext, upstreams: Mapping[str, UpstreamServices]) -> None:
        settings = context.settings
        warnings, zone = settings.warnings, settings.zone
        self.delivery = delivery = Delivery(
            database=context.database,
            webhook=open_webhooks(settings),
            mail=open_mail(settings),
            channels=settings.channels,
            console_url=settings.server.console_url,
            metrics=context.metrics,
            log=context.log,
            now_ms=context.clock,
            on_failure=context.on_failure,
        )
        self.monitor = BudgetMonitor(
            database=context.database,
            delivery=delivery,
            percents=warnings.percents,
            zone=zone,
            metrics=context.metrics,
            log=context.log,
            now_ms=context.clock,
            on_failure=context.on_failure,
        )
        self.outages = OutageMonitor(
            database=context.database,
            delivery=delivery,
            limiters={name: each.limiter for name, each in upstreams.items()},
            routes=routing_of(context.settings).routes.values(),
            prices=context.prices,
            zone=zone,
            metrics=context.metrics,
            log=context.log,
            now_ms=context.clock,
        )
        self.reports = _report_scheduler(context, delivery)
        self.service = BudgetService(
            database=context.database,
            owner_id=context.owner.id,
            zone=zone,
            now_ms=context.clock,
            on_failure=context.on_failure,
            on_used_up=self.monitor.refused,
            console_url=context.settings.server.console_url,
            write_failure=lambda: context.database.write_failure,
            most_end_users=context.settings.accounts.max_end_users,
        )


def _report_scheduler(context: ProcessContext, delivery: Delivery) -> ReportScheduler | None:
    reports = context.settings.reports
    if not reports.schedule:
        return None
    return ReportScheduler(
        database=context.database,
        delivery=delivery,
        schedule=reports.schedule,
        finance=reports.to,
        zone=context.settings.zone,
        metrics=context.metrics,
        log=context.log,
        now_ms=context.clock,
    )
