"""CSV for spreadsheets: amounts are numbers, and no text is a formula."""

from __future__ import annotations

import pytest

from gateway.queries.csv_table import CsvStyle, csv_style


@pytest.mark.parametrize("name", ["team", "tag:campaign", "tag:priceusd", "tag:x_usd"])
@pytest.mark.parametrize("text", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\uff1d1+1"])
def test_no_text_is_a_formula_whatever_its_column_is_called(name: str, text: str) -> None:
    assert CsvStyle().text([name], [{name: text}]) == f"{name}\n'{text}\n"


@pytest.mark.parametrize(("decimal", "cell"), [("point", "-1.25"), ("comma", "-1,25")])
def test_an_amount_is_a_number(decimal: str, cell: str) -> None:
    style = csv_style(decimal=decimal)

    assert style.text(["spent_usd"], [{"spent_usd": "-1.25"}]).split("\n")[1].strip('"') == cell
