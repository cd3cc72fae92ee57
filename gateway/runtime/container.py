"""The composition root: a gateway with all of its parts, built from its settings.

Nothing is started here, and neither network nor file is touched. `lifespan.py` starts the parts.
"""

from __future__ import annotations

import os
import socket
import uuid

from gateway.accounts.authenticator import Authenticator
from gateway.database.clock import Clock
from gateway.database.monitored import MonitoredDatabase
from gateway.ledger.tables.unresolved_reservations import Owner
from gateway.runtime.backends import (
    VERSION,
    open_database,
    open_prices,
    open_spans,
    routing_of,
)
from gateway.runtime.background_tasks import BackgroundTasks
from gateway.runtime.collectors import GaugeCollector
from gateway.runtime.detached_requests import DetachedRequests
from gateway.runtime.edit_services import EditServices
from gateway.runtime.money_gauges import MoneyGauges
from gateway.runtime.process_context import ProcessContext
from gateway.runtime.readiness import Readiness
from gateway.runtime.services import (
    BudgetServices,
    CacheServices,
    CoalescingServices,
    UpstreamServices,
    close_limiters,
)
from gateway.runtime.state_maintenance import StateMaintenance
from gateway.server.graceful_shutdown import GracefulShutdown
from gateway.settings import Settings
from gateway.telemetry.log import EventLog
from gateway.telemetry.metrics import Metrics, WorkerSlot
from gateway.upstream.catalogues import Catalogues


class Container:
    """A gateway, one field per subject. Raises SettingsError where an engine can't be used.

    A sandbox has the keys and the models of the gateway that it is `sandbox_of`, nothing else.
    """

    def __init__(
        self,
        settings: Settings,
        log: EventLog,
        worker_slot: WorkerSlot | None = None,
        clock: Clock | None = None,
        sandbox_of: Container | None = None,
    ) -> None:
        clock = clock or Clock()
        self.context = context = ProcessContext(
            settings=settings,
            log=log,
            metrics=Metrics(
                VERSION,
                worker_slot,
                max_teams=settings.metrics.max_teams,
                max_keys=settings.metrics.max_keys,
                counting=sandbox_of is None,
            ),
            spans=open_spans(settings),
            database=MonitoredDatabase(open_database(settings.state)),
            clock=clock,
            owner=Owner(f"own_{uuid.uuid4().hex}", socket.gethostname(), os.getpid(), clock()),
            prices=open_prices(settings),
            sandbox=sandbox_of is not None,
        )
        self.authenticator: Authenticator = (
            sandbox_of.authenticator
            if sandbox_of
            else Authenticator(
                settings.state.auth_stale_seconds, settings.sandbox.requests_per_minute
            )
        )
        self.upstreams = {
            name: UpstreamServices(context, each) for name, each in settings.every_upstream.items()
        }
        self.catalogues: Catalogues = (
            sandbox_of.catalogues
            if sandbox_of
            else Catalogues(
                {name: each.catalogue for name, each in self.upstreams.items()},
                routing_of(settings),
            )
        )
        context.metrics.learn_models(self.catalogues.routing.routes)
        self.cache = CacheServices(context)
        self.coalescing = CoalescingServices(context)
        self.budgets = BudgetServices(context, self.upstreams)
        self.edits = EditServices(
            context,
            self.authenticator,
            self.upstreams,
            self.catalogues,
            self.cache,
            self.coalescing,
            self.budgets.service,
        )
        self.operation = OperationServices(self)


class OperationServices:
    """What watches over the process, and what ends it."""

    def __init__(self, parts: Container) -> None:
        context, cache, coalescing = parts.context, parts.cache, parts.coalescing
        self.detached = DetachedRequests()
        self.background = BackgroundTasks(context.metrics, context.log)
        self.readiness = Readiness(
            parts.authenticator, context, parts.upstreams, cache.results, self.background
        )
        self.gauges = GaugeCollector(
            context,
            cache.results,
            coalescing.flights,
            parts.edits.recorder,
            self.readiness,
            MoneyGauges(context.settings.zone),
        )
        self.maintenance = StateMaintenance(
            context,
            coalescing.leases,
            cache.invalidation,
            cache.links,
            cache.answers,
            cache.gallery,
        )
        self.shutdown = GracefulShutdown(
            context.settings.server.drain_seconds,
            lambda: coalescing.flights.in_flight + self.detached.running,
            context.log,
            on_end=lambda: close_limiters(parts.upstreams.values()),
            on_begin=coalescing.lease_watcher.stop_waiting,
        )
