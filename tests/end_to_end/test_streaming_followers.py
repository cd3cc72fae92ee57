"""Who asks for the same as a stream, or streams the same as a plain edit: one call for all."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.emulator import EmulatorServer
from gateway.settings import Settings
from tests.support.serving import Running, make_key, serving, settings_for
from tests.support.streams import Streamed, Streaming
from tests.support.waiting import until

SAVED = {"total_cost": 0, "saved_cost": 0.01}


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as threads:
        yield threads


@pytest.fixture
def beating(tmp_path: Path, emulator: EmulatorServer) -> Settings:
    """A gateway's settings whose streams beat often."""
    settings = settings_for(tmp_path, emulator, {"server": {"stream_heartbeat_seconds": 0.1}})
    make_key(settings)
    return settings


def let_go_after_heartbeats(follower: Streaming, emulator: EmulatorServer) -> Streamed:
    """Let the call that hangs go on once the follower has heard three heartbeats."""
    until(lambda: follower.heard.heartbeats >= 3)
    until(lambda: emulator.release() == 1)
    return follower.result()


def test_a_second_stream_gets_the_events_from_where_they_are_and_pays_nothing(
    gateway: Running, emulator: EmulatorServer, pool: ThreadPoolExecutor
) -> None:
    emulator.order({"latency_seconds": 2.0})
    leader = Streaming(pool, gateway, 3)
    until(lambda: leader.came(2))
    follower = Streaming(pool, gateway, 3).result()

    assert leader.result().cost == {"total_cost": 0.01}
    assert follower.outcome == "COALESCED"
    assert follower.cost == SAVED
    assert follower.kinds == ["partial", "partial", "completed"]
    assert [d["partial_image_index"] for d in follower.documents[:2]] == [1, 2]
    assert follower.completed["b64_json"] == leader.heard.completed["b64_json"]
    assert emulator.stats()["calls"] == 1


@pytest.mark.parametrize("asked", [0, 1])
def test_a_second_stream_gets_no_more_partial_pictures_than_it_asked_for(
    gateway: Running, emulator: EmulatorServer, pool: ThreadPoolExecutor, asked: int
) -> None:
    emulator.order({"latency_seconds": 1.6})
    leader = Streaming(pool, gateway, 3)
    until(lambda: leader.came(1))
    follower = Streaming(pool, gateway, asked).result()

    assert follower.kinds == ["partial"] * asked + ["completed"]
    assert len(leader.result().kinds) == 4


def test_many_streams_of_the_same_are_one_call(
    gateway: Running, emulator: EmulatorServer, pool: ThreadPoolExecutor
) -> None:
    emulator.order({"latency_seconds": 1.5})
    answers = [each.result() for each in [Streaming(pool, gateway, 2) for _ in range(12)]]

    assert sorted(answer.cost["total_cost"] for answer in answers) == [0] * 11 + [0.01]
    assert len({answer.completed["b64_json"] for answer in answers}) == 1
    assert emulator.stats()["calls"] == 1


def test_a_plain_edit_follows_a_stream(
    gateway: Running, emulator: EmulatorServer, pool: ThreadPoolExecutor
) -> None:
    emulator.order({"latency_seconds": 1.0})
    leader = Streaming(pool, gateway, 1)
    until(lambda: leader.came(1))
    plain = gateway.edit()

    assert plain.headers["x-gateway-cache"] == "COALESCED"
    assert plain.json()["data"][0]["b64_json"] == leader.result().completed["b64_json"]
    assert plain.json()["usage"]["cost"] == SAVED
    assert emulator.stats()["calls"] == 1


def test_a_stream_follows_a_plain_edit_with_heartbeats_and_one_event(
    beating: Settings, emulator: EmulatorServer, pool: ThreadPoolExecutor
) -> None:
    emulator.order({"hang": True})
    with serving(beating) as gateway:
        plain = pool.submit(gateway.edit)
        until(lambda: emulator.stats()["in_flight"] == 1)
        follower = let_go_after_heartbeats(Streaming(pool, gateway, 3), emulator)
        leader = plain.result(30)

    assert follower.outcome == "COALESCED"
    assert follower.kinds == ["completed"]
    assert follower.cost == SAVED
    assert follower.completed["b64_json"] == leader.json()["data"][0]["b64_json"]
    assert leader.headers["x-gateway-cache"] == "MISS"
    assert emulator.stats()["calls"] == 1


@pytest.mark.parametrize("leads_streaming", [True, False])
def test_a_stream_follows_a_flight_of_another_process_with_heartbeats_and_one_event(
    beating: Settings, emulator: EmulatorServer, pool: ThreadPoolExecutor, leads_streaming: bool
) -> None:
    emulator.order({"hang": True})
    with ExitStack() as stack:
        one, other = (stack.enter_context(serving(beating)) for _ in range(2))
        if leads_streaming:
            Streaming(pool, one, 1)
        else:
            pool.submit(one.edit)
        until(lambda: emulator.stats()["in_flight"] == 1)
        follower = let_go_after_heartbeats(Streaming(pool, other, 3), emulator)

    assert follower.kinds == ["completed"]
    assert follower.cost == SAVED
    assert emulator.stats()["calls"] == 1


def test_a_stream_s_head_does_not_say_what_is_not_known_yet(
    beating: Settings, emulator: EmulatorServer, pool: ThreadPoolExecutor
) -> None:
    """Whoever waits for another process may yet have to buy by itself."""
    emulator.order({"hang": True})
    with ExitStack() as stack:
        one, other = (stack.enter_context(serving(beating)) for _ in range(2))
        leader = Streaming(pool, one)
        until(lambda: emulator.stats()["in_flight"] == 1)
        follower = let_go_after_heartbeats(Streaming(pool, other), emulator)

    assert leader.result().outcome == "MISS"
    assert follower.outcome is None
    assert "cache-status" not in follower.headers


def test_the_leader_s_leaving_does_not_end_its_followers_stream(
    gateway: Running, emulator: EmulatorServer, pool: ThreadPoolExecutor
) -> None:
    emulator.order({"latency_seconds": 1.6})
    leader = Streaming(pool, gateway, 3, leave_after=1)
    until(lambda: leader.came(1))
    follower = Streaming(pool, gateway, 3).result()

    assert leader.result().kinds == ["partial"]
    assert follower.kinds[-2:] == ["partial", "completed"]
    assert emulator.stats()["calls"] == 1


def test_who_cannot_pay_leads_no_stream_and_stops_nobody_s(
    tmp_path: Path, emulator: EmulatorServer, pool: ThreadPoolExecutor
) -> None:
    settings = settings_for(tmp_path, emulator)
    make_key(settings)
    make_key(settings, name="poor", secret="sk-poor", key_terms={"budget_usd": "0.001"})
    emulator.order({"latency_seconds": 0.5})
    with serving(settings) as gateway:
        poor = Streaming(pool, gateway, key="sk-poor").result()
        rich = Streaming(pool, gateway).result()

    assert (poor.status, poor.error["code"]) == (429, "insufficient_quota")
    assert rich.cost == {"total_cost": 0.01}
    assert emulator.stats()["calls"] == 1
