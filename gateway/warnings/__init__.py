"""Warnings before the wall: each mark of a budget is told once, off the path of requests."""

from gateway.warnings.courier import Courier
from gateway.warnings.watch import Watch

__all__ = ["Courier", "Watch"]
