"""Prometheus metrics: the one home of prometheus-client."""

from gateway.edges.meters import families
from gateway.edges.meters.meters import Meters
from gateway.edges.meters.workers import Seat, shared_folder, take_seat

__all__ = ["Meters", "Seat", "families", "shared_folder", "take_seat"]
