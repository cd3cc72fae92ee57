"""A quote (`X-Gateway-Dry-Run: true`) says what would happen, and nothing does."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.emulator import EmulatorServer
from tests.support.exposition import scrape, total
from tests.support.serving import (
    GatewayProcess,
    Running,
    Served,
    make_key,
    serving,
    settings_for,
    tables_of,
)
from tests.support.usage import usage_of
from tests.support.waiting import until

DRY = {"x-gateway-dry-run": "true"}
OTHER = "sk-test-of-the-other-team"


@pytest.fixture
def gateway(tmp_path: Path, emulator: EmulatorServer) -> Iterator[Running]:
    settings = settings_for(tmp_path, emulator)
    make_key(settings, team_terms={"budget_usd": "0.02", "paid_images_per_day": 9})
    make_key(settings, team="sales", secret=OTHER, name="second")
    with serving(settings) as running:
        yield running


def quoted(gateway: Served, prompt: str, **more: Any) -> Any:
    headers = DRY | more.pop("headers", {})
    answer = gateway.edit(prompt, headers=headers, **more)
    assert answer.status_code == 200, answer.text
    document = answer.json()
    assert document["object"] == "quote"
    assert "x-gateway-cache" not in answer.headers
    return document


def test_an_edit_that_is_not_stored_would_be_bought_for_its_ceiling(
    gateway: Running, emulator: EmulatorServer
) -> None:
    found = quoted(gateway, "one")
    assert (found["would"], found["ceiling_usd"], found["likely_usd"]) == ("buy", "0.01", None)
    assert (found["left_usd"], found["images_left"], found["must_wait"]) == ("0.02", 9, False)
    assert emulator.stats()["billed_calls"] == 0
    gateway.edit("one")
    found = quoted(gateway, "two")
    assert (found["likely_usd"], found["left_usd"], found["images_left"]) == ("0.01", "0.01", 8)


def test_a_stored_result_would_be_a_hit_that_costs_nothing(gateway: Running) -> None:
    bought = gateway.edit("one")
    found = quoted(gateway, "one")
    assert (found["would"], found["ceiling_usd"], found["saved_usd"]) == ("hit", "0", "0.01")
    assert found["fingerprint"] in bought.headers["cache-status"]


def test_what_would_be_refused_is_quoted_with_the_reason(
    gateway: Running, emulator: EmulatorServer
) -> None:
    unknown = quoted(gateway, "one", model="no-such-model")
    assert (unknown["would"], unknown["error"]["code"]) == ("refused", "model_not_found")
    gateway.edit("one")
    gateway.edit("two")
    poor = quoted(gateway, "three")
    assert (poor["would"], poor["error"]["code"], poor["left_usd"]) == (
        "refused", "insufficient_quota", "0",
    )  # fmt: skip
    cached = quoted(gateway, "four", headers={"x-gateway-cache-control": "only-if-cached"})
    assert cached["error"]["code"] == "not_cached"
    assert emulator.stats()["billed_calls"] == 2


def test_a_remembered_failure_would_be_given_again(
    gateway: Running, emulator: EmulatorServer
) -> None:
    emulator.order({"status": 500})
    failed = gateway.edit("one")
    again = quoted(gateway, "one")
    assert failed.status_code >= 500
    assert (again["would"], again["error"]["code"]) == (
        "refused", failed.json()["error"]["code"],
    )  # fmt: skip


def test_an_edit_in_flight_would_be_joined_on_every_process(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    settings = settings_for(tmp_path, emulator)
    make_key(settings)
    make_key(settings, team="sales", secret=OTHER, name="second")
    emulator.order({"hang": True})
    with (
        serving(settings) as gateway,
        GatewayProcess(tables_of(tmp_path, emulator), tmp_path / "p") as elsewhere,
    ):
        leader = threading.Thread(target=gateway.edit, args=("one",))
        leader.start()
        until(lambda: emulator.stats()["calls"] == 1)
        assert quoted(gateway, "one")["would"] == "join"
        assert quoted(elsewhere, "one")["would"] == "join"
        assert quoted(elsewhere, "one", key=OTHER)["would"] == "buy"
        emulator.release()
        leader.join(30)
        elsewhere.stop()


def test_a_quote_is_in_no_report_and_no_metric_but_counts_for_the_rate(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    settings = settings_for(tmp_path, emulator)
    make_key(settings, key_terms={"requests_per_minute": 3})
    with serving(settings) as gateway:
        gateway.edit("one")
        first = gateway.edit("two", headers=DRY)
        gateway.edit("two", headers=DRY)
        refused = gateway.edit("two", headers=DRY)
        with gateway.client() as client:
            status = client.get(f"/v1/requests/{first.headers['x-request-id']}")
        rows = usage_of(gateway, 1)
        counted = total(scrape(gateway), "gateway_requests_total")
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert status.status_code in (404, 429)
    assert (len(rows), counted) == (1, 1)


@pytest.mark.parametrize("value", ["yes", "1"])
def test_a_value_that_may_mean_either_buys_nothing(
    gateway: Running, emulator: EmulatorServer, value: str
) -> None:
    answer = gateway.edit("one", headers={"x-gateway-dry-run": value})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "X-Gateway-Dry-Run"
    assert emulator.stats()["billed_calls"] == 0


def test_anothers_result_is_as_one_that_is_not_there_in_the_same_time(gateway: Running) -> None:
    gateway.edit("one")
    assert quoted(gateway, "one")["would"] == "hit"
    took: dict[str, list[float]] = {"one": [], "never bought": []}
    answers = {}
    for _ in range(25):
        for prompt, seconds in took.items():
            began = time.perf_counter()
            answers[prompt] = quoted(gateway, prompt, key=OTHER)
            seconds.append(time.perf_counter() - began)
    of_another, of_none = answers.values()
    assert of_another["would"] == "buy"
    assert {**of_another, "fingerprint": ""} == {**of_none, "fingerprint": ""}
    ratio = statistics.median(took["one"]) / statistics.median(took["never bought"])
    assert 0.6 < ratio < 1.6
