"""Rows as CSV, in the style that the reader's spreadsheet or program takes."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

SEPARATORS: Mapping[str, str] = MappingProxyType({"comma": ",", "semicolon": ";", "tab": "\t"})
DECIMALS: Mapping[str, str] = MappingProxyType({"point": ".", "comma": ","})
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\t", "\r")
"""Characters that make a spreadsheet read a cell as a formula, full-width ones included."""
_DECIMAL = re.compile(r"-?[0-9]+\.[0-9]+")
_AMOUNT = re.compile(r"-?[0-9]+(\.[0-9]+)?")
"""A column may be of a tag whose name ends in `usd`: its texts are no amounts."""


@dataclass(frozen=True, slots=True)
class CsvStyle:
    """The separator, the decimal sign, and how texts are written.

    A leading apostrophe marks a text that a spreadsheet would take for a formula, unless `raw`.
    """

    separator: str = ","
    decimal: str = "."
    byte_order_mark: bool = False
    raw: bool = False

    def text(
        self, names: Sequence[str], rows: Iterable[Mapping[str, object]], *, head: bool = True
    ) -> str:
        """The rows, below a line of names unless they follow others."""
        out = io.StringIO()
        if head and self.byte_order_mark:
            out.write("\ufeff")
        writer = csv.writer(out, delimiter=self.separator, lineterminator="\n")
        if head:
            writer.writerow(names)
        writer.writerows([self._cell(name, row.get(name)) for name in names] for row in rows)
        return out.getvalue()

    def _cell(self, name: str, value: object) -> str:
        cell = cell_text(value)
        if isinstance(value, (int, float)) or (name.endswith("usd") and _AMOUNT.fullmatch(cell)):
            return cell.replace(".", self.decimal) if _DECIMAL.fullmatch(cell) else cell
        return f"'{cell}" if cell.startswith(_FORMULA) and not self.raw else cell


RAW = CsvStyle(raw=True)
"""For machines: every cell as it is."""


def csv_style(
    separator: str | None = None, decimal: str = "point", *, bom: bool = False, raw: bool = False
) -> CsvStyle:
    """A style by the names in SEPARATORS and DECIMALS.

    Beside a decimal comma, the separator is a semicolon unless another is named.
    """
    usual = "semicolon" if decimal == "comma" else "comma"
    return CsvStyle(SEPARATORS[separator or usual], DECIMALS[decimal], bom, raw)


def cell_text(value: object) -> str:
    """A value in one cell of a table."""
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={each}" for key, each in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(str(each) for each in value)
    return str(value)
