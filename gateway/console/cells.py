"""Values as markup, by the kind of their column.

A table may have thousands: in Python they are written several times as fast as by a macro.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

Kind = str
"""`text`, `bar`, `code`, or the name of a filter."""


class Cells:
    """Writes values; `filters` are those of the templates."""

    def __init__(self, filters: Mapping[str, Callable[[Any], object]]) -> None:
        self._filters = filters

    def of_row(self, row: Mapping[str, Any], columns: Sequence[tuple[str, str, Kind]]) -> Markup:
        """The cells of a row; a column is the name in the row, its heading, and its kind."""
        cells = (
            f'<td class="{kind}">{escape(self.value(row[name], kind))}</td>'
            for name, _, kind in columns
        )
        return Markup("".join(cells))  # noqa: S704 - each value is escaped

    def value(self, value: Any, kind: Kind = "text") -> object:
        """The value, or a link to what `href` names."""
        if isinstance(value, Mapping):
            text = self.value(value["text"], kind)
            return Markup('<a href="{}">{}</a>').format(value["href"], text)
        if kind == "text":
            return "–" if value is None or value == "" else value
        if kind == "code":
            return Markup("<code>{}</code>").format(value)
        return bar(value) if kind == "bar" else self._filters[kind](value)


def bar(part: float, tone: str = "") -> Markup:
    """A share of 0 to 1 as a bar; the tone is "warn" or "bad"."""
    width = round(min(100 * part, 100), 2)
    return Markup(  # noqa: S704 - a number, and a tone of the templates
        f'<svg class="bar {tone}" width="100%" height="6" aria-hidden="true">'
        '<rect class="all" width="100%" height="6" rx="3"/>'
        f'<rect class="part" width="{width}%" height="6" rx="3"/></svg>'
    )
