"""One upstream call for one edit, over real sockets: in one process, and between processes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from gateway.emulator import EmulatorServer
from gateway.settings import Settings
from tests.support.crowds import crowd, leaving_crowd, outcomes
from tests.support.serving import Running, make_key, serving, settings_for
from tests.support.waiting import let_go, until

NO_CACHE = {"x-gateway-cache-control": "no-cache"}


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as threads:
        yield threads


@pytest.fixture
def two(settings: Settings) -> Iterator[tuple[Running, Running]]:
    """Two gateways that share state and results, as two processes of one machine do."""
    with ExitStack() as stack:
        yield stack.enter_context(serving(settings)), stack.enter_context(serving(settings))


def following(gateway: Running) -> int:
    """How many flights of others this gateway watches."""
    return gateway.app.parts.coalescing.lease_watcher.watched


def lead_and_follow(
    two: tuple[Running, Running],
    emulator: EmulatorServer,
    pool: ThreadPoolExecutor,
    **edit: object,
) -> tuple[httpx.Response, httpx.Response]:
    """The first leads a flight that hangs, the second follows it; then the call is let go."""
    emulator.order({"hang": True})
    leader = pool.submit(two[0].edit, **edit)  # type: ignore[arg-type]
    until(lambda: emulator.stats()["in_flight"] == 1)
    follower = pool.submit(two[1].edit, **edit)  # type: ignore[arg-type]
    until(lambda: following(two[1]) == 1)
    let_go(emulator)
    return leader.result(30), follower.result(30)


# --- within a process -----------------------------------------------------------------


def test_a_crowd_that_asks_for_the_same_at_once_makes_one_call(
    gateway: Running, emulator: EmulatorServer
) -> None:
    emulator.order(always={"latency_seconds": 1.0})
    answers = crowd([gateway.url], 100)

    assert outcomes(answers) == {"MISS": 1, "COALESCED": 99}
    assert sorted(a.headers["x-gateway-cost-usd"] for a in answers) == ["0"] * 99 + ["0.01"]
    assert emulator.stats()["calls"] == 1


def test_a_crowd_that_leaves_does_not_lose_the_picture_and_pays_for_it_once(
    gateway: Running, emulator: EmulatorServer
) -> None:
    emulator.order({"hang": True})
    assert leaving_crowd(gateway.url, 50, patience=1.0) == 50
    let_go(emulator)
    until(lambda: gateway.app.parts.coalescing.flights.in_flight == 0)

    assert gateway.edit().headers["x-gateway-cache"] == "HIT"
    assert emulator.stats()["calls"] == emulator.stats()["billed_calls"] == 1


def test_who_cannot_pay_does_not_stop_who_can(
    settings: Settings, emulator: EmulatorServer, pool: ThreadPoolExecutor
) -> None:
    make_key(settings, name="poor", secret="sk-poor", key_terms={"budget_usd": "0.001"})
    with serving(settings) as gateway:
        poor = [pool.submit(gateway.edit, key="sk-poor") for _ in range(3)]
        rich = [pool.submit(gateway.edit) for _ in range(3)]
        refused = [answer.result(30) for answer in poor]
        served = [answer.result(30) for answer in rich]

    assert [answer.status_code for answer in served] == [200] * 3
    assert {answer.status_code for answer in refused} <= {200, 429}
    assert emulator.stats()["billed_calls"] == 1


# --- between processes ----------------------------------------------------------------


def test_who_asks_another_process_for_the_same_shares_the_one_call(
    two: tuple[Running, Running], emulator: EmulatorServer, pool: ThreadPoolExecutor
) -> None:
    leader, follower = lead_and_follow(two, emulator, pool)

    assert outcomes([leader]) == {"MISS": 1}
    assert outcomes([follower]) == {"COALESCED": 1}
    assert follower.headers["x-gateway-cost-usd"] == "0"
    assert follower.headers["x-gateway-saved-usd"] == "0.01"
    assert follower.json()["usage"]["cost"] == {"total_cost": 0, "saved_cost": 0.01}
    assert emulator.stats()["calls"] == 1


def test_no_cache_follows_a_no_cache_flight_of_another_process_and_gets_the_new_picture(
    two: tuple[Running, Running], emulator: EmulatorServer, pool: ThreadPoolExecutor
) -> None:
    old = two[0].edit()
    leader, follower = lead_and_follow(two, emulator, pool, headers=NO_CACHE)

    assert outcomes([leader]) == {"REFRESHED": 1}
    assert outcomes([follower]) == {"COALESCED": 1}
    assert leader.json()["created"] == follower.json()["created"]
    assert leader.headers["x-gateway-upstream-request-id"] != old.headers[
        "x-gateway-upstream-request-id"
    ]  # fmt: skip
    assert emulator.stats()["calls"] == 2


def test_a_plain_edit_follows_a_no_cache_flight_of_another_process(
    two: tuple[Running, Running], emulator: EmulatorServer, pool: ThreadPoolExecutor
) -> None:
    emulator.order({"hang": True})
    fresh = pool.submit(two[0].edit, headers=NO_CACHE)
    until(lambda: emulator.stats()["in_flight"] == 1)
    plain = pool.submit(two[1].edit)
    until(lambda: following(two[1]) == 1)
    let_go(emulator)

    assert outcomes([fresh.result(30)]) == {"REFRESHED": 1}
    assert outcomes([plain.result(30)]) == {"COALESCED": 1}
    assert emulator.stats()["calls"] == 1


def test_a_failure_is_shared_with_followers_in_another_process(
    two: tuple[Running, Running], emulator: EmulatorServer, pool: ThreadPoolExecutor
) -> None:
    emulator.order({"latency_seconds": 1.0, "status": 500})
    leader = pool.submit(two[0].edit)
    until(lambda: emulator.stats()["in_flight"] == 1)
    follower = pool.submit(two[1].edit)

    for answer in (leader.result(30), follower.result(30)):
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_failed")
        assert answer.headers["x-should-retry"] == "false"
    assert emulator.stats()["calls"] == 1


def test_a_failure_that_costs_nothing_is_shared_too_but_not_remembered(
    two: tuple[Running, Running], emulator: EmulatorServer, pool: ThreadPoolExecutor
) -> None:
    emulator.order({"latency_seconds": 1.0, "status": 409})
    leader = pool.submit(two[0].edit)
    until(lambda: emulator.stats()["in_flight"] == 1)
    follower = pool.submit(two[1].edit)

    assert [leader.result(30).status_code, follower.result(30).status_code] == [409, 409]
    assert emulator.stats()["calls"] == 1
    assert two[1].edit().status_code == 200


def test_a_picture_that_cannot_be_stored_leaves_the_followers_elsewhere_to_buy(
    two: tuple[Running, Running], emulator: EmulatorServer, pool: ThreadPoolExecutor
) -> None:
    started = time.monotonic()
    leader, follower = lead_and_follow(two, emulator, pool, response_format="url")

    assert outcomes([leader, follower]) == {"MISS": 2}
    assert time.monotonic() - started < 4
    assert emulator.stats()["calls"] == 2


def test_a_follower_that_must_wait_too_long_is_told_so_and_its_retry_joins(
    tmp_path: Path, emulator: EmulatorServer, pool: ThreadPoolExecutor
) -> None:
    settings = settings_for(tmp_path, emulator, {"server": {"client_wait_seconds": 1}})
    make_key(settings)
    emulator.order({"hang": True})
    with serving(settings) as one, serving(settings) as other:
        for gateway in (one, other):
            answer = gateway.edit()
            assert (answer.status_code, answer.json()["error"]["code"]) == (504, "still_running")
            assert answer.headers["x-should-retry"] == "true"
        retry = pool.submit(other.edit)
        until(lambda: other.app.parts.coalescing.flights.followers == 1)
        let_go(emulator)

        assert outcomes([retry.result(30)]) == {"COALESCED": 1}
    assert emulator.stats()["calls"] == 1


def test_a_process_that_ends_does_not_wait_for_flights_of_others(
    settings: Settings, emulator: EmulatorServer
) -> None:
    emulator.order({"hang": True})
    with serving(settings) as one:
        assert leaving_crowd(one.url, 1, patience=0.5) == 1
        with serving(settings) as other:
            assert leaving_crowd(other.url, 1, patience=0.5) == 1
            assert following(other) == 1
            began = time.monotonic()
        assert time.monotonic() - began < 5
        let_go(emulator)
    assert emulator.stats()["calls"] == 1
