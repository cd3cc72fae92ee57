"""Prometheus metrics: the one home of prometheus-client."""

from gateway.telemetry.metrics import families
from gateway.telemetry.metrics.metrics import Metrics
from gateway.telemetry.metrics.worker_slots import WorkerSlot, shared_folder, take_worker_slot

__all__ = ["Metrics", "WorkerSlot", "families", "shared_folder", "take_worker_slot"]
