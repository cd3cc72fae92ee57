"""Streams that fail: the client sees it, the money is settled, nothing is stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gateway.emulator import EmulatorServer
from gateway.ledger.tables import reports
from gateway.ledger.tables.ledger_rows import LedgerRow
from gateway.settings import Settings
from tests.support.serving import Running, in_state, make_key, serving, settings_for
from tests.support.streams import Streaming, stream
from tests.support.usage import usage_of
from tests.support.waiting import until

CENT = 10_000_000
BROKEN = [{"truncate_stream": True}, {"truncate": True}, {"reset_mid_answer": True}]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


def booked(settings: Settings) -> list[tuple[int, int]]:
    """What the ledger says of each call: its cost, and whether that is an estimate."""

    async def rows(tx: Any) -> Sequence[LedgerRow]:
        return await reports.ledger_rows(tx, "2000-01-01", "2999-12-31")

    return [(row.cost_nanos, row.estimated) for row in in_state(settings, rows)]


@pytest.mark.parametrize("fault", BROKEN)
def test_a_truncated_stream_is_broken_off_settled_at_the_ceiling_and_not_stored(
    settings: Settings, emulator: EmulatorServer, fault: dict[str, object]
) -> None:
    emulator.order(fault)
    with serving(settings) as gateway:
        answer = stream(gateway, partial_images=1)
        again = gateway.edit()
        rows = usage_of(gateway, 2)

    assert answer.kinds == ["partial", "error"]
    assert answer.error["code"] == "upstream_failed"
    assert answer.broken
    assert (again.status_code, again.json()["error"]["code"]) == (502, "upstream_failed")
    assert booked(settings) == [(CENT, 1)]
    assert emulator.stats()["calls"] == 1
    assert [(row["outcome"], row["code"]) for row in rows] == [("failed", "upstream_failed")] * 2


def test_an_error_event_is_told_on_and_settled_at_the_ceiling(
    settings: Settings, emulator: EmulatorServer
) -> None:
    emulator.order({"stream_error": True})
    with serving(settings) as gateway:
        answer = stream(gateway, partial_images=1)
        again = stream(gateway)

    assert answer.kinds == ["partial", "error"]
    assert answer.error["code"] == "upstream_failed"
    assert "(The emulator was told to fail)" in answer.error["message"]
    assert "no-cache" in answer.error["message"]
    assert again.status == 502
    assert again.error == answer.error
    assert booked(settings) == [(CENT, 1)]
    assert emulator.stats()["calls"] == 1


@pytest.mark.parametrize("knob", ["garbage", "no_picture"])
def test_a_completed_event_without_a_picture_is_a_failure(
    settings: Settings, emulator: EmulatorServer, knob: str
) -> None:
    emulator.order({knob: True})
    with serving(settings) as gateway:
        answer = stream(gateway)

    assert answer.error["code"] == "upstream_failed"
    assert "b64_json" not in answer.raw.decode()
    assert [cost for cost, _ in booked(settings)] == [CENT]


@pytest.mark.parametrize("cost", ["missing", -1, True])
def test_a_stream_s_cost_that_cannot_be_believed_is_booked_at_the_ceiling(
    settings: Settings, emulator: EmulatorServer, cost: object
) -> None:
    emulator.order({"cost": cost})
    with serving(settings) as gateway:
        answer = stream(gateway)

    assert answer.kinds == ["completed"]
    assert booked(settings) == [(CENT, 1)]


def test_a_stream_s_own_cost_is_booked_to_the_nano(
    settings: Settings, emulator: EmulatorServer
) -> None:
    emulator.order({"cost": "0.0031415"})
    with serving(settings) as gateway:
        stream(gateway)

    assert booked(settings) == [(3_141_500, 0)]


def test_a_time_out_in_a_stream_is_told_and_booked(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    settings = settings_for(tmp_path, emulator, {"upstream": {"timeout_seconds": 1}})
    make_key(settings)
    emulator.order({"hang": True})
    with serving(settings) as gateway:
        answer = stream(gateway, partial_images=1)

    assert answer.kinds == ["partial", "error"]
    assert answer.error["code"] == "upstream_timeout"
    assert booked(settings) == [(CENT, 1)]


def test_what_is_refused_before_the_stream_keeps_its_status(
    gateway: Running, emulator: EmulatorServer
) -> None:
    emulator.order({"status": 500})
    failed = stream(gateway, prompt="fails")
    refused = stream(gateway, prompt="something forbidden")

    assert (failed.status, failed.error["code"]) == (502, "upstream_failed")
    assert failed.headers["x-should-retry"] == "false"
    assert (refused.status, refused.error["code"]) == (400, "content_policy_violation")
    assert refused.headers["content-type"] == "application/json"


def test_an_upstream_that_is_busy_before_the_stream_is_tried_again(
    gateway: Running, emulator: EmulatorServer
) -> None:
    emulator.order({"status": 503}, {"status": 429})
    answer = stream(gateway, partial_images=1)

    assert answer.kinds == ["partial", "completed"]
    assert emulator.stats()["billed_calls"] == 1


def test_a_refusal_after_the_first_heartbeat_is_an_event_and_costs_nothing(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    settings = settings_for(tmp_path, emulator, {"server": {"stream_heartbeat_seconds": 0.1}})
    make_key(settings)
    emulator.order({"latency_seconds": 0.5, "status": 422})
    with serving(settings) as gateway:
        answer = stream(gateway)
        (row,) = usage_of(gateway, 1)

    assert answer.status == 200
    assert answer.heartbeats >= 2
    assert answer.error["code"] == "emulated_failure"
    assert (row["outcome"], row["code"], row["status"]) == ("refused", "upstream_refused", 422)
    assert booked(settings) == [(0, 0)]


def test_a_follower_shares_the_failure_of_a_stream_in_its_own_way(
    gateway: Running, emulator: EmulatorServer, pool: ThreadPoolExecutor
) -> None:
    emulator.order({"latency_seconds": 1.5, "truncate_stream": True})
    leader = Streaming(pool, gateway, 1)
    until(lambda: leader.came(1))
    plain = pool.submit(gateway.edit)
    follower = Streaming(pool, gateway)

    assert leader.result().error["code"] == "upstream_failed"
    assert follower.result().error["code"] == "upstream_failed"
    assert plain.result(30).status_code == 502
    assert emulator.stats()["calls"] == 1
