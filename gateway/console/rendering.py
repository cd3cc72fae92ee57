"""Templates: Jinja2 with autoescape, loaded with the first page, and how values are written."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import datetime, tzinfo
from decimal import ROUND_HALF_EVEN, Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.console.static_files import version_of

if TYPE_CHECKING:
    from jinja2 import Environment

_FOLDER = Path(__file__).with_name("templates")
_SIZES = ("bytes", "kB", "MB", "GB", "TB")
MOST_WRITTEN = 10_000
"""Amounts and days that are kept as they were written: a page has many twice."""
_CENT, _FINEST = Decimal("0.01"), Decimal("0.0001")


def environment(zone: tzinfo, link: Callable[[str], str]) -> Environment:
    """The templates; `link` makes the address of a path of the console."""
    # Imported with the first page: with markupsafe it costs a start 30 ms.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from gateway.console.cells import Cells, bar

    found = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    found.filters.update(
        money=money,
        count=count,
        duration=duration,
        share=share,
        size=size,
        day=day,
        moment=partial(moment, zone=zone),
    )
    cells = Cells(found.filters)
    found.globals.update(
        link=link,
        bar=bar,
        value=cells.value,
        cells=cells.of_row,
        zip=zip,
        static=lambda name: f"{link(f'/console/static/{name}')}?v={version_of(name)}",
    )
    return found


def load_all(templates: Environment) -> None:
    """Load every template, so that the first look at a page is as fast as the next."""
    for name in templates.list_templates():
        templates.get_template(name)


@functools.lru_cache(MOST_WRITTEN)
def money(usd: str | None) -> str:
    """An amount in dollars for reading: in cents, or finer where it is less than a dollar."""
    if usd is None:
        return "–"
    amount = Decimal(usd)
    exact = amount == amount.quantize(_CENT)
    step = _CENT if exact or abs(amount) >= 1 else _FINEST
    rounded = amount.quantize(step, ROUND_HALF_EVEN)
    if rounded == 0 != amount:
        return f"{'−' if amount < 0 else ''}<${_FINEST}"
    return f"{'−' if rounded < 0 else ''}${abs(rounded):,}"


def count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


def duration(ms: float) -> str:
    """A time in milliseconds, or in seconds where it is long."""
    return f"{ms / 1000:,.1f} s" if ms >= 1000 else f"{ms:.0f} ms" if ms >= 10 else f"{ms:.1f} ms"


def size(number: int) -> str:
    """A number of bytes, to three digits."""
    power = min(4, (len(str(number)) - 1) // 3)
    amount = number / 1000**power
    return f"{amount:.{1 if power and amount < 100 else 0}f} {_SIZES[power]}"


def share(part: float | None) -> str:
    """A share of 1 in per cent."""
    if part is None:
        return "–"
    return f"{100 * part:.{1 if 0 < part < 0.1 else 0}f} %"


@functools.lru_cache(MOST_WRITTEN)
def day(text: str) -> str:
    """A day such as 2026-11-03 as "3 Nov 2026"; any other text as it is."""
    try:
        at = datetime.strptime(text, "%Y-%m-%d")
    except ValueError:
        return text
    return f"{at.day} {at:%b %Y}"


def moment(text: str | None, zone: tzinfo) -> str:
    """A moment in the gateway's time zone, to the minute."""
    if not text:
        return "–"
    at = datetime.fromisoformat(text).astimezone(zone)
    return f"{at.day} {at:%b %Y, %H:%M}"
