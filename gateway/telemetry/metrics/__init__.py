"""Prometheus metrics: the one home of prometheus-client."""

from gateway.telemetry.metrics import families
from gateway.telemetry.metrics.metrics import Meters
from gateway.telemetry.metrics.worker_slots import Seat, shared_folder, take_seat

__all__ = ["Meters", "Seat", "families", "shared_folder", "take_seat"]
