"""Statements as providers export them, and files that are no such thing."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.ledger.rules.statement_lines import Columns, StatementOptions
from gateway.ledger.statements.file import FileBounds, Unreadable
from gateway.ledger.statements.reading import (
    BadLines,
    Statement,
    read_statement,
)

OPENAI = StatementOptions(
    columns=Columns(time="start_time", cost="amount_value", currency="amount_currency"),
    granularity="day",
)
OPENAI_HEAD = (
    "start_time,end_time,start_time_iso,end_time_iso,amount_value,amount_currency,quantity,"
    "quantity_unit,line_item,project_id\n"
)
OPENAI_CSV = OPENAI_HEAD + (
    '1793491200,,,,0.5,usd,,,"gpt-image-1, image output",p\n'
    '1793491200,,,,0.000000001200000000000000000000,usd,,,"gpt-image-1, text input",p\n'
    '1793491200,,,,2.25,usd,,,"gpt-5-nano, input_tokens",p\n'
    "1793577600,,,,,,,,,\n"
)


def read(tmp_path: Path, text: str | bytes, options: StatementOptions, **more: Any) -> Statement:
    file = tmp_path / "statement"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_statement(file, replace(options, **more))


def costs(statement: Statement) -> list[int]:
    return [line.cost_nanos for line in statement.lines]


def test_openais_costs_as_csv(tmp_path: Path) -> None:
    found = read(tmp_path, OPENAI_CSV, OPENAI, filters={"line_item": ("gpt-image-*", "")})
    assert (costs(found), found.left_out) == ([500_000_000, 2, 0], 1)
    assert found.lines[0].line_item == "gpt-image-1, image output"


def test_openais_costs_as_json_are_lines_by_bucket_and_line_item(tmp_path: Path) -> None:
    results = [
        {"object": "organization.costs.result", "amount": {"value": 0.06, "currency": "usd"},
         "line_item": "gpt-image-1, image output", "project_id": None},
        {"object": "organization.costs.result", "amount": {"value": 1e-8, "currency": "usd"},
         "line_item": "gpt-image-1, text input", "project_id": None},
    ]  # fmt: skip
    buckets = [
        {"object": "bucket", "start_time": 1793491200, "end_time": 1, "results": results},
        {"object": "bucket", "start_time": 1793577600, "end_time": 1, "results": []},
    ]
    page = {"object": "page", "data": buckets, "has_more": False, "next_page": None}
    columns = replace(OPENAI.columns, cost="amount.value", currency="amount.currency")
    found = read(tmp_path, json.dumps(page), OPENAI, columns=columns)
    assert costs(found) == [60_000_000, 10]
    assert {line.at_ms for line in found.lines} == {1793491200_000}
    with pytest.raises(Unreadable, match="one page of several"):
        read(tmp_path, json.dumps({**page, "has_more": True}), OPENAI, columns=columns)


AZURE = StatementOptions(
    columns=Columns(
        time="Date", cost="CostInBillingCurrency", currency="BillingCurrencyCode",
        line_item="MeterName",
    ),
    granularity="day",
    dates="us",
    numbers="us",
    filters={"MeterCategory": ("Azure OpenAI",)},
    rates={"EUR": Decimal("1.08")},
)  # fmt: skip
AZURE_CSV = (
    "Cost details\nScope: contoso\n"
    "Date,CostInBillingCurrency,BillingCurrencyCode,MeterCategory,MeterName\n"
    '11/05/2026,"1,000.50",EUR,Azure OpenAI,gpt image 1 output\n'
    "11/05/2026,(0.50),EUR,Azure OpenAI,gpt image 1 output\n"
    "11/05/2026,77.00,EUR,Virtual Machines,D2s v5\n"
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_azures_cost_details_in_euros(tmp_path: Path, encoding: Any) -> None:
    text = AZURE_CSV.encode(encoding)
    found = read(tmp_path, text, AZURE, encoding=encoding, title_lines=2)
    assert costs(found) == [1_080_540_000_000, -540_000_000]
    assert (found.left_out, found.lines[0].currency, found.lines[0].number) == (1, "EUR", 4)
    assert (found.first[0].time, found.first[0].cost) == ("11/05/2026", "1,000.50")


def test_a_german_sheet_with_its_total(tmp_path: Path) -> None:
    text = "Monat;Betrag\n01.11.2026;1.234,50 €\n02.11.2026;0,50- €\nSumme;1.234,00 €\n"
    options = replace(
        AZURE, columns=Columns(time="Monat", cost="Betrag"), dates="german", numbers="german",
        filters={}, rates={"EUR": Decimal(1)},
    )  # fmt: skip
    assert costs(read(tmp_path, text, options)) == [1_234_500_000_000, -500_000_000]
    with pytest.raises(Unreadable, match="not whole: its lines add up to"):
        read(tmp_path, text.replace("0,50-", "0,50"), options)


def test_a_total_counts_the_lines_of_other_services_too(tmp_path: Path) -> None:
    text = OPENAI_CSV + "TOTAL,,,,2.75,usd,,,,\n"
    filters = {"line_item": ("gpt-image-*", "")}
    assert len(read(tmp_path, text, OPENAI, filters=filters).lines) == 3
    with pytest.raises(Unreadable, match=r"total is \$3.75"):
        read(tmp_path, text.replace("2.75", "3.75"), OPENAI, filters=filters)


@pytest.mark.parametrize(
    ("text", "more", "told"),
    [
        (AZURE_CSV, {}, "has no column 'Date'"),
        (AZURE_CSV, {"title_lines": 2, "rates": {}}, "the ledger is in USD. Say what one is worth"),
        (AZURE_CSV, {"title_lines": 2, "rates": {"EUR": 1, "GBP": 2}}, "has no amount in GBP"),
        (AZURE_CSV, {"title_lines": 2, "numbers": "plain"}, "other ways are --numbers us, german"),
        (AZURE_CSV, {"title_lines": 2, "dates": "iso"}, "other ways are --dates us, german"),
        (AZURE_CSV.replace("1,000.50", "$1"), {"title_lines": 2}, "and its currency is EUR"),
        (AZURE_CSV.encode("utf-16"), {"title_lines": 2}, "give --encoding utf-16"),
        (AZURE_CSV, {"title_lines": 2, "encoding": "utf-16"}, "is not UTF-16"),
        (AZURE_CSV.replace("1,000.50", "2,000,000"), {"title_lines": 2}, "at most \\$1,000,000"),
        (AZURE_CSV, {"title_lines": 99}, "has no column 'Date'"),
    ],
)
def test_what_is_read_in_a_wrong_way_is_refused(
    tmp_path: Path, text: str | bytes, more: dict[str, Any], told: str
) -> None:
    with pytest.raises((Unreadable, BadLines), match=told):
        read(tmp_path, text, AZURE, **more)


def test_a_file_is_bounded_in_bytes_and_lines(tmp_path: Path) -> None:
    file = tmp_path / "statement"
    for text, bounds, told in (
        (OPENAI_CSV, FileBounds(lines=2), "more than 2 lines"),
        (OPENAI_CSV, FileBounds(file_bytes=100), "more than 100 bytes"),
        ('[{"a": 1}]', FileBounds(json_bytes=5), "more than 5 bytes of JSON"),
    ):
        file.write_text(text)
        with pytest.raises(Unreadable, match=told):
            read_statement(file, OPENAI, bounds)
