"""What the leader of a flight does besides what other files here promise."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.emulator import EmulatorServer
from gateway.telemetry.metrics import Metrics
from tests.support.exposition import scrape, total
from tests.support.serving import make_key, serving, settings_for


def test_what_a_request_waits_for_others_is_not_the_gateway_s_overhead(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    """One is bought, one waits for a seat, and two share their calls; each is long."""
    settings = settings_for(tmp_path, emulator, {"upstream": {"max_connections": 1}})
    make_key(settings)
    emulator.order(always={"latency_seconds": 1.5})
    with serving(settings) as gateway, ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(gateway.edit, f"make it {i % 2}") for i in range(4)]
        outcomes = sorted(each.result(60).headers["x-gateway-cache"] for each in asked)
        text = scrape(gateway)

    assert outcomes == ["COALESCED", "COALESCED", "MISS", "MISS"]
    for outcome in ("coalesced", "miss"):
        whole = total(text, "gateway_request_seconds_sum", outcome=outcome)
        assert whole - total(text, "gateway_overhead_seconds_sum", outcome=outcome) > 4


def test_a_flight_that_crashes_before_its_call_leaves_its_seat_to_others(
    tmp_path: Path, emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("no space left for a new series")

    bounds = {"max_connections": 1, "queue_seconds": 5}
    settings = settings_for(tmp_path, emulator, {"upstream": bounds})
    make_key(settings)
    with serving(settings) as gateway:
        with monkeypatch.context() as patch:
            patch.setattr(Metrics, "expect_cost", full)
            assert gateway.edit("crashes").status_code == 500
        assert gateway.edit("goes").status_code == 200
