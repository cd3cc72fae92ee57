"""Calls that are priced by tokens: computed to the nano-dollar, and reserved at what fits."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gateway.emulator import EmulatorServer, EmulatorSettings
from gateway.ledger.tables import reports, verify
from gateway.ledger.tables.ledger_rows import LedgerRow
from gateway.pricing.rules.price_table import TokenRates
from tests.support.exposition import scrape, total
from tests.support.serving import (
    KEY,
    Overrides,
    Running,
    in_state,
    make_key,
    serving,
    settings_for,
)

LOW = {"quality": "low", "size": "1024x1024"}


@pytest.fixture(scope="module")
def openai() -> Iterator[EmulatorServer]:
    with EmulatorServer(EmulatorSettings(api="openai")) as server:
        yield server


def running(folder: Path, openai: EmulatorServer, more: Overrides | None = None) -> Any:
    openai.reset()
    upstream = {"name": "openai", "first_call_alone": True, **(more or {}).get("upstream", {})}
    return settings_for(folder, openai, {**(more or {}), "upstream": upstream})


def edit(gateway: Running, prompt: str = "make it grey", **fields: Any) -> Any:
    return gateway.edit(prompt, **{"model": "gpt-image-1", **LOW, **fields})


def rows_of(settings: Any) -> list[LedgerRow]:
    return in_state(settings, lambda tx: reports.ledger_rows(tx, "2000-01-01", "9999-12-31"))


def test_a_call_is_booked_at_what_its_tokens_cost(tmp_path: Path, openai: EmulatorServer) -> None:
    settings = running(tmp_path, openai)
    make_key(settings)
    with serving(settings) as gateway:
        bought, hit = edit(gateway), edit(gateway)
        with gateway.client() as client:
            status = client.get(f"/v1/requests/{bought.headers['x-request-id']}").json()
        shown = scrape(gateway)
    billed = openai.stats()
    (row,) = rows_of(settings)
    assert (row.cost_kind, row.cost_nanos) == ("computed", billed["billed_nanos"])
    assert row.cost_nanos == row.computed_nanos
    assert row.price_version
    assert (bought.headers["x-gateway-cost-usd"], bought.headers["x-gateway-cost-kind"]) == (
        billed["billed_usd"],
        "computed",
    )
    assert (status["cost_usd"], status["cost_kind"]) == (billed["billed_usd"], "computed")
    usage = bought.json()["usage"]
    assert (row.image_out, row.image_in + row.text_in) == (272, usage["input_tokens"])
    assert total(shown, "gateway_tokens_total", kind="image_out") == 272

    assert hit.headers["x-gateway-saved-usd"] == billed["billed_usd"]
    assert "x-gateway-cost-kind" not in hit.headers
    assert hit.json()["usage"] == {
        "input_tokens": 0,
        "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
        "output_tokens": 0,
        "total_tokens": 0,
    }
    assert hit.json()["saved_usage"] == usage


def test_a_small_budget_buys_what_it_can(tmp_path: Path, openai: EmulatorServer) -> None:
    """At a flat $0.25, a key of $0.30 bought one picture of a cent."""
    settings = running(tmp_path, openai)
    make_key(settings, key_terms={"budget_usd": "0.30", "budget_period": "total"})
    with serving(settings) as gateway:
        for number in itertools.count():
            answer = edit(gateway, f"make it grey, {number}")
            if answer.status_code != 200:
                break
    assert answer.json()["error"]["code"] == "insufficient_quota"
    spent = sum(row.cost_nanos for row in rows_of(settings))
    assert 280_000_000 <= spent <= 300_000_000
    assert spent == openai.stats()["billed_nanos"]


@pytest.mark.parametrize(
    "calls", [pytest.param(10, id="short"), pytest.param(60, id="long", marks=pytest.mark.long)]
)
def test_the_ledger_is_the_bill_for_mixed_calls(
    tmp_path: Path, openai: EmulatorServer, calls: int
) -> None:
    settings = running(tmp_path, openai)
    make_key(settings)
    rng = random.Random(5)
    qualities, sizes = ("low", "medium", "high", "auto", ""), ("1024x1024", "1536x1024", "auto")
    with serving(settings) as gateway:
        for number in range(calls):
            fields: dict[str, Any] = {
                "model": rng.choice(("gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5")),
                "quality": rng.choice(qualities),
                "size": rng.choice(sizes),
                "input_fidelity": rng.choice(("low", "high")),
                "n": rng.choice("123"),
            }
            more = {"stream": "true", "n": "1", "partial_images": "2"} if number % 4 == 0 else {}
            answer = gateway.edit(f"grey {number}", images=rng.choice((1, 2)), **{**fields, **more})
            assert answer.status_code == 200
        log = gateway.log.getvalue()
    rows = rows_of(settings)
    assert {row.cost_kind for row in rows} == {"computed"}
    assert sum(row.cost_nanos for row in rows) == openai.stats()["billed_nanos"] > 0
    assert in_state(settings, verify.verify).differences == ()
    assert "more than its ceiling" not in log


def test_stated_dollars_beat_computed_ones_and_a_difference_is_logged(
    tmp_path: Path, openai: EmulatorServer
) -> None:
    table = tmp_path / "prices.toml"
    table.write_text(
        'version = "mine"\n[[price]]\nmodels = ["openai/gpt-image-1"]\nvalid_from = 2026-01-01\n'
        "text_in = 5\nimage_in = 10\nimage_out = 40\n"
    )
    path = "usage.output_tokens"  # a number that the answer states, read as dollars
    settings = running(
        tmp_path,
        openai,
        {
            "upstream": {"cost_path": path, "implausible_cost_usd": "1000"},
            "prices": {"file": str(table)},
        },
    )
    make_key(settings)
    with serving(settings) as gateway:
        assert edit(gateway).headers["x-gateway-cost-kind"] == "stated"
        edit(gateway, "make it grey again")
        lines = [json.loads(line) for line in gateway.log.getvalue().splitlines()]
    row = rows_of(settings)[0]
    assert (row.cost_kind, row.cost_nanos, row.price_version) == ("stated", 272 * 10**9, "mine")
    assert row.computed_nanos == TokenRates(
        *(5 * 10**9, 10**10, 0, 0, 4 * 10**10, 4 * 10**10)
    ).cost_nanos(row.tokens)
    warnings = [line for line in lines if "differs from the computed one" in line["event"]]
    assert len(warnings) == 1
    assert warnings[0]["stated_usd"] == "272.00"


def test_a_picture_above_its_table_price_raises_the_ceiling_for_every_process(
    tmp_path: Path, openai: EmulatorServer
) -> None:
    """272 tokens cost $0.10, the ceiling is that of 40: six more fitted into what was left."""
    table = tmp_path / "prices.toml"
    table.write_text(
        'version = "mine"\n[tokens.t]\nby_size.low = { 1024x1024 = 40 }\n[[price]]\n'
        'models = ["gpt-image-1"]\nvalid_from = 2026-01-01\ntokens = "t"\n'
        "text_in = 0\nimage_out = 367\n"
    )
    settings = running(tmp_path, openai, {"prices": {"file": str(table)}})
    make_key(settings, team_terms={"budget_usd": "0.20"})
    with serving(settings) as one, serving(settings) as other, ThreadPoolExecutor(12) as pool:
        assert edit(one).headers["x-gateway-cost-usd"] == "0.099824"
        openai.order(always={"latency_seconds": 0.2})
        edits = [pool.submit(edit, (one, other)[n % 2], f"grey {n}") for n in range(12)]
        answers = Counter(each.result().status_code for each in edits)
    assert answers[200] == 1
    assert sum(row.cost_nanos for row in rows_of(settings)) == 2 * 99_824_000


def test_a_model_without_a_price_is_named_at_its_first_call(
    tmp_path: Path, openai: EmulatorServer
) -> None:
    settings = running(tmp_path, openai)
    make_key(settings)
    with serving(settings) as gateway:
        for number in range(2):
            answer = gateway.edit(
                f"grey {number}", model="dall-e-2", size="1024x1024", response_format="b64_json"
            )
            assert answer.status_code == 200
        assert edit(gateway).status_code == 200
        log = gateway.log.getvalue()
    lines = [json.loads(line) for line in log.splitlines() if "no price of a model" in line]
    assert [line["model"] for line in lines] == ["dall-e-2"]
    assert KEY not in log
