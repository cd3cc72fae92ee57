"""Durations that follow from the settings."""

from __future__ import annotations

from gateway.settings import Settings
from gateway.upstream.rules.retry_policy import LONGEST_WAIT_SECONDS


def longest_flight_ms(settings: Settings) -> int:
    """The longest possible upstream call. Only an older reservation can be abandoned."""
    upstream = settings.upstream
    tries_seconds = 2 * upstream.timeout_seconds  # the last one begins within the first time-out
    return int(1000 * (upstream.queue_seconds + LONGEST_WAIT_SECONDS + tries_seconds))
