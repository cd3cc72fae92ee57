"""Values as Grafana writes them, by a panel's unit."""

from __future__ import annotations

import math

_BYTES = ("B", "KiB", "MiB", "GiB", "TiB")


def written(value: float, unit: str, decimals: int | None = None) -> str:
    """A value with its unit, short."""
    if not math.isfinite(value):
        return "–"
    if unit == "currencyUSD":
        return f"${_rounded(value, 2 if decimals is None and value >= 1 else decimals)}"
    if unit == "percentunit":
        return f"{_rounded(value * 100, decimals)} %"
    if unit == "s":
        return f"{_rounded(value * 1000)} ms" if abs(value) < 1 else f"{_rounded(value)} s"
    if unit == "bytes":
        return _of_bytes(value)
    if unit == "dtdurations":
        return _lasting(value)
    ending = {"reqps": " req/s", "cps": " c/s"}.get(unit, "")
    return f"{_rounded(value, decimals)}{ending}"


def _rounded(value: float, decimals: int | None = None) -> str:
    if decimals is not None:
        return f"{value:,.{decimals}f}"
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _of_bytes(value: float) -> str:
    power = 0
    while abs(value) >= 1024 and power < len(_BYTES) - 1:
        value, power = value / 1024, power + 1
    return f"{_rounded(value)} {_BYTES[power]}"


def _lasting(seconds: float) -> str:
    for name, length in (("days", 86400), ("hours", 3600), ("min", 60)):
        if abs(seconds) >= length:
            return f"{_rounded(seconds / length)} {name}"
    return f"{_rounded(seconds)} s"
