"""The forecast of a budget's spending: the rate so far, for the whole window."""

from __future__ import annotations

from gateway.model.money import NANOS
from gateway.model.windows import Window

SHORTEST_PART = 24
ROUNDED_NANOS = NANOS // 10_000


def forecast_nanos(spent_nanos: int, window: Window, now_ms: int) -> int | None:
    """The spending at the end of the window, at the rate so far; None where it never ends.

    At its beginning a window counts as if a 24th of it had passed, so that the first call of a
    month is not taken for a rate.
    """
    if window.starts_ms is None or window.resets_ms is None:
        return None
    whole = window.resets_ms - window.starts_ms
    elapsed = max(now_ms - window.starts_ms, whole // SHORTEST_PART)
    forecast = spent_nanos * whole // elapsed
    return max(spent_nanos, forecast - forecast % ROUNDED_NANOS)
