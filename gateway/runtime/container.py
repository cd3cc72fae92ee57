"""The parts of a running gateway, grouped by subject. `build.py` makes them."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.accounts.authenticator import Authenticator
from gateway.alerts import BudgetMonitor
from gateway.cache.invalidation import Invalidation
from gateway.cache.result_store import ResultStore
from gateway.coalescing.lease_transaction import Leases
from gateway.coalescing.lease_watcher import LeaseWatcher
from gateway.coalescing.single_flight import SingleFlight
from gateway.edits.flight_result import FlightResult
from gateway.edits.pipeline import Pipeline
from gateway.ledger.budget_service import BudgetService
from gateway.queries.request_status import RequestStatus
from gateway.runtime.collectors import GaugeCollector
from gateway.runtime.context import Context
from gateway.runtime.maintenance import StateMaintenance
from gateway.runtime.readiness import Readiness
from gateway.runtime.stored_catalogue import StoredCatalogue
from gateway.server.graceful_shutdown import GracefulShutdown
from gateway.telemetry.usage_recorder import UsageRecorder
from gateway.upstream.client import UpstreamClient
from gateway.upstream.limiter import UpstreamLimiter
from gateway.upstream.model_catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class UpstreamParts:
    """The upstream's client, and what is known of the upstream."""

    client: UpstreamClient
    limiter: UpstreamLimiter
    catalogue: Catalogue
    stored_catalogue: StoredCatalogue


@dataclass(frozen=True, slots=True)
class CacheParts:
    """The result store, and its invalidation between processes."""

    results: ResultStore
    invalidation: Invalidation


@dataclass(frozen=True, slots=True)
class CoalescingParts:
    """Flights of this process, and leases between processes."""

    flights: SingleFlight[FlightResult]
    leases: Leases
    lease_watcher: LeaseWatcher


@dataclass(frozen=True, slots=True)
class BudgetParts:
    """Reservations and settlements, and alerts at the thresholds of budgets."""

    service: BudgetService
    monitor: BudgetMonitor


@dataclass(frozen=True, slots=True)
class EditParts:
    """The way of a request, its record, and its status afterwards."""

    pipeline: Pipeline
    recorder: UsageRecorder
    request_status: RequestStatus


@dataclass(frozen=True, slots=True)
class OperationParts:
    """What watches over the process, and what ends it."""

    readiness: Readiness
    gauges: GaugeCollector
    maintenance: StateMaintenance
    shutdown: GracefulShutdown


@dataclass(frozen=True, slots=True)
class Container:
    """A running gateway, one field per subject."""

    context: Context
    authenticator: Authenticator
    upstream: UpstreamParts
    cache: CacheParts
    coalescing: CoalescingParts
    budgets: BudgetParts
    edits: EditParts
    operation: OperationParts
