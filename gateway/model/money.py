"""Money: integers of nano-dollars, from and to decimal text. No float ever holds money."""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal, InvalidOperation

NANOS = 1_000_000_000
_LARGEST = Decimal(10**9)
_PLAIN = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?\s*", re.ASCII)


def nanos_of(value: object) -> int | None:
    """Nano-dollars of an amount in dollars, fractions of a nano rounded up.

    Takes decimal text, an int, or a Decimal (read JSON and TOML with `parse_float=Decimal`).
    None if the value is not a plain, non-negative, finite amount up to a thousand million
    dollars: unknown is never 0.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, Decimal)):
        return None
    if isinstance(value, str) and not _PLAIN.fullmatch(value):
        return None
    try:
        amount = Decimal(value)
    except InvalidOperation:
        return None
    if not amount.is_finite() or amount < 0 or amount > _LARGEST:
        return None
    return int((amount * NANOS).to_integral_value(rounding=ROUND_CEILING))


def usd(nanos: int) -> str:
    """Decimal text of an amount, exact, with at least two decimals unless it is 0."""
    sign, whole = ("-" if nanos < 0 else ""), abs(nanos)
    if whole == 0:
        return "0"
    dollars, rest = divmod(whole, NANOS)
    decimals = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{sign}{dollars}.{decimals}"
