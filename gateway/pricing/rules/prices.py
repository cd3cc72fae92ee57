"""What a call is reserved at, and which costs can be believed."""

from __future__ import annotations

MOST_TIMES_THE_PRICE = 10
"""How far above its configured price a picture's seen cost can raise the ceiling.

One odd answer, believed for booking because it is below the sanity bound, must not hold so
much for each further call that a month's budgets stand still. A price that really rose this
far is booked in full all the same, as an overrun, until the configured price is corrected.
"""


def ceiling(price_nanos: int, seen_nanos: int | None, n: int) -> int:
    """What `n` images are reserved at.

    `price_nanos` is the ceiling of one image as configured, `seen_nanos` the most that one
    image of this model has lately cost (None where none was seen). The larger one counts: a
    price that rose upstream is reserved for from the second call on, up to
    MOST_TIMES_THE_PRICE. Where the configured price is 0 there is nothing to measure by, and
    what was seen counts as it is.
    """
    if price_nanos < 0 or n < 1:
        raise ValueError(f"a ceiling of {price_nanos} nano-dollars for {n} images makes no sense")
    seen = seen_nanos or 0
    if price_nanos:
        seen = min(seen, MOST_TIMES_THE_PRICE * price_nanos)
    return max(price_nanos, seen) * n


def plausible(cost_nanos: int | None, bound_nanos: int) -> int | None:
    """The cost as the upstream gave it, or None (unknown, never 0) where it can't be believed."""
    if cost_nanos is None or not 0 <= cost_nanos <= bound_nanos:
        return None
    return cost_nanos


def per_image(cost_nanos: int, n: int) -> int:
    """What one of `n` images cost, rounded up."""
    return -(-cost_nanos // n)
