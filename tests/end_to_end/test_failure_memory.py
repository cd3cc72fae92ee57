"""Retrying is safe, whatever the library: by the number of calls that reached the upstream."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest

from gateway.emulator import EmulatorServer
from gateway.settings import Settings
from tests.support.serving import (
    KEY,
    PHOTOGRAPH,
    Running,
    SteppedClock,
    make_key,
    serving,
    settings_for,
)
from tests.support.usage import usage_of
from tests.support.waiting import until

NO_CACHE = {"x-gateway-cache-control": "no-cache"}
NO_STORE = {"x-gateway-cache-control": "no-store"}
NOT_SURE = [{"status": 500}, {"reset_after_read": True}, {"garbage": True}, {"truncate": True}]


def by_status(edit: Callable[[], httpx.Response], tries: int = 4) -> list[int]:
    """A client that retries by the status alone, as curl's --retry and many others do."""
    statuses: list[int] = []
    while len(statuses) < tries:
        statuses.append(edit().status_code)
        if statuses[-1] < 500 and statuses[-1] not in (408, 409, 429):
            break
    return statuses


def sdk(gateway: Running, **more: object) -> openai.OpenAI:
    return openai.OpenAI(base_url=gateway.base_url, api_key=KEY, **more)  # type: ignore[arg-type]


# --- failures that may have been charged ----------------------------------------------


@pytest.mark.parametrize("fault", NOT_SURE)
def test_a_client_that_retries_by_status_alone_buys_an_ambiguous_failure_once(
    gateway: Running, emulator: EmulatorServer, fault: dict[str, object]
) -> None:
    emulator.order(fault)

    assert by_status(gateway.edit) == [502] * 4
    assert emulator.stats()["calls"] == 1


@pytest.mark.parametrize("fault", NOT_SURE)
def test_openai_python_buys_an_ambiguous_failure_once(
    gateway: Running, emulator: EmulatorServer, fault: dict[str, object]
) -> None:
    emulator.order(fault)
    with sdk(gateway) as client:
        for _ in range(2):
            with pytest.raises(openai.InternalServerError) as caught:
                client.images.edit(model="deepshi-image-1", image=PHOTOGRAPH, prompt="make it grey")
            assert caught.value.code == "upstream_failed"

    assert emulator.stats()["calls"] == 1


def test_a_time_out_of_the_upstream_is_not_bought_again(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    settings = settings_for(tmp_path, emulator, {"upstream": {"timeout_seconds": 1}})
    make_key(settings)
    emulator.order({"hang": True})
    with serving(settings) as gateway:
        assert by_status(gateway.edit) == [504] * 4
        assert gateway.edit().json()["error"]["code"] == "upstream_timeout"
    assert emulator.stats()["calls"] == 1


def test_the_same_error_comes_with_its_age_and_without_a_cost(
    gateway: Running, emulator: EmulatorServer
) -> None:
    emulator.order({"status": 500})
    first, again = gateway.edit(), gateway.edit()

    assert first.json() == again.json()
    assert first.headers["x-gateway-cost-usd"] == "0.01"
    assert again.headers["x-gateway-cost-usd"] == "0"
    assert "cache-status" not in first.headers
    assert again.headers["cache-status"].startswith("gateway; hit; ttl=1")
    assert again.headers["cache-status"].endswith("; detail=remembered-failure")
    assert int(again.headers["age"]) <= 2
    assert again.headers["x-should-retry"] == "false"


def test_no_cache_buys_again_and_what_it_buys_is_a_hit_for_all(
    gateway: Running, emulator: EmulatorServer
) -> None:
    emulator.order({"status": 500})
    gateway.edit()
    again = gateway.edit(headers=NO_CACHE)

    assert (again.status_code, again.headers["x-gateway-cache"]) == (200, "REFRESHED")
    assert gateway.edit().headers["x-gateway-cache"] == "HIT"
    assert emulator.stats()["calls"] == 2


def test_another_edit_is_not_touched_by_the_failure_of_one(
    gateway: Running, emulator: EmulatorServer
) -> None:
    emulator.order({"status": 500})
    gateway.edit()

    assert gateway.edit("make it blur").status_code == 200


@pytest.mark.parametrize("headers", [NO_STORE, {}], ids=["no-store", "plain"])
def test_no_store_does_not_buy_an_ambiguous_failure_again_either(
    gateway: Running, emulator: EmulatorServer, headers: dict[str, str]
) -> None:
    emulator.order({"status": 500})
    gateway.edit(headers=headers)

    assert gateway.edit(headers=NO_STORE).status_code == 502
    assert gateway.edit().status_code == 502
    assert emulator.stats()["calls"] == 1


def test_a_generation_that_may_have_been_charged_is_not_bought_again(
    gateway: Running, emulator: EmulatorServer
) -> None:
    emulator.order({"status": 500})
    document = {"model": "deepshi-banana-pro", "prompt": "a boat", "size": "64x64"}
    with gateway.client() as client:
        statuses = by_status(lambda: client.post("/v1/images/generations", json=document))

    assert statuses == [502] * 4
    assert emulator.stats()["calls"] == 1


def test_a_failure_is_remembered_across_processes_and_restarts(
    settings: Settings, emulator: EmulatorServer
) -> None:
    emulator.order({"status": 500})
    with serving(settings) as one, serving(settings) as other:
        first, elsewhere = one.edit(), other.edit()
    with serving(settings) as restarted:
        later = restarted.edit()

    assert first.json() == elsewhere.json() == later.json()
    assert [answer.status_code for answer in (first, elsewhere, later)] == [502] * 3
    assert later.headers["x-should-retry"] == "false"
    assert emulator.stats()["calls"] == 1


def test_a_failure_is_forgotten_in_time(tmp_path: Path, emulator: EmulatorServer) -> None:
    clock, settings = SteppedClock(), settings_for(tmp_path, emulator)
    make_key(settings)
    emulator.order({"status": 500})
    with serving(settings, clock) as gateway:
        assert by_status(gateway.edit, tries=2) == [502, 502]
        clock.step(119)
        assert gateway.edit().status_code == 502
        clock.step(2)
        assert gateway.edit().status_code == 200


def test_a_remembered_failure_is_another_scope_s_no_business(
    settings: Settings, emulator: EmulatorServer
) -> None:
    make_key(settings, team="other", secret="sk-other-team")
    emulator.order({"status": 500})
    with serving(settings) as gateway:
        assert gateway.edit().status_code == 502
        assert gateway.edit(key="sk-other-team").status_code == 200


@pytest.mark.parametrize("status", [429, 503])
def test_what_cost_nothing_is_tried_again(
    gateway: Running, emulator: EmulatorServer, status: int
) -> None:
    emulator.order(*[{"status": status}] * 3)
    first, second = gateway.edit(), gateway.edit()

    assert (first.status_code, first.headers["x-should-retry"]) == (status, "true")
    assert second.status_code == 200
    assert emulator.stats()["billed_calls"] == 1


# --- refusals of the upstream ---------------------------------------------------------


def test_a_loop_of_calls_that_the_upstream_refuses_stops_at_the_gateway(
    gateway: Running, emulator: EmulatorServer
) -> None:
    emulator.order(always={"status": 400})
    first, *again = [gateway.edit() for _ in range(5)]

    assert emulator.stats()["calls"] == 1
    assert first.json()["error"]["code"] == "emulated_failure"
    for answer in again:
        assert (answer.status_code, answer.json()) == (400, first.json())
        assert answer.headers["x-gateway-error-source"] == "upstream"
        assert answer.headers["cache-status"].startswith("gateway; hit; ttl=5")
        assert answer.headers["cache-status"].endswith("; detail=remembered-refusal")
        assert answer.headers["age"].isdecimal()
        assert answer.headers["x-gateway-cost-usd"] == "0"


def test_a_refusal_is_remembered_in_other_processes_word_for_word(
    settings: Settings, emulator: EmulatorServer
) -> None:
    emulator.order({"status": 400})
    with serving(settings) as one, serving(settings) as other:
        first, elsewhere = one.edit(), other.edit()

    assert elsewhere.content == first.content
    assert "detail=remembered-refusal" in elsewhere.headers["cache-status"]
    assert emulator.stats()["calls"] == 1


def test_a_refusal_of_one_user_is_not_given_to_another(
    gateway: Running, emulator: EmulatorServer
) -> None:
    emulator.order({"status": 400})

    assert [gateway.edit(user=name).status_code for name in ("ann", "ann", "bob")] == [
        400, 400, 200,
    ]  # fmt: skip
    assert emulator.stats()["calls"] == 2


def test_a_refusal_of_one_user_is_not_given_to_another_in_another_process(
    settings: Settings, emulator: EmulatorServer
) -> None:
    emulator.order({"status": 400})
    with serving(settings) as one, serving(settings) as other:
        statuses = [one.edit(user="ann").status_code, other.edit(user="ann").status_code]
        statuses.append(other.edit(user="bob").status_code)

    assert statuses == [400, 400, 200]
    assert emulator.stats()["calls"] == 2


@pytest.mark.parametrize("processes", [1, 2])
def test_who_follows_a_call_that_is_refused_asks_for_itself_where_it_sends_other_fields(
    settings: Settings, emulator: EmulatorServer, processes: int
) -> None:
    emulator.order({"latency_seconds": 1.5, "status": 400})
    with serving(settings) as one, serving(settings) as two, ThreadPoolExecutor(3) as pool:
        other = one if processes == 1 else two
        leader = pool.submit(one.edit, user="ann")
        until(lambda: emulator.stats()["calls"] == 1)
        followers = [pool.submit(other.edit, user=name) for name in ("ann", "bob")]
        statuses = [asked.result().status_code for asked in (leader, *followers)]

    assert statuses in ([400, 400, 200], [400, 200, 200])  # bob's picture is ann's as well
    assert emulator.stats()["calls"] == 2


def test_a_failure_that_may_have_been_charged_is_shared_by_all_users(
    gateway: Running, emulator: EmulatorServer
) -> None:
    emulator.order({"status": 500})

    assert [gateway.edit(user=name).status_code for name in ("ann", "bob")] == [502, 502]
    assert emulator.stats()["calls"] == 1


@pytest.mark.parametrize("headers", [NO_CACHE, NO_STORE])
def test_who_goes_round_the_cache_asks_the_upstream_again(
    gateway: Running, emulator: EmulatorServer, headers: dict[str, str]
) -> None:
    emulator.order({"status": 400})
    gateway.edit()

    assert gateway.edit(headers=headers).status_code == 200
    assert emulator.stats()["calls"] == 2


@pytest.mark.parametrize("status", [404, 409, 413])
def test_other_refusals_are_not_remembered(
    gateway: Running, emulator: EmulatorServer, status: int
) -> None:
    emulator.order({"status": status})

    assert [gateway.edit().status_code, gateway.edit().status_code] == [status, 200]


def test_a_remembered_refusal_has_a_cause_of_its_own_in_the_usage(
    gateway: Running, emulator: EmulatorServer
) -> None:
    emulator.order({"status": 400})
    gateway.edit()
    gateway.edit()
    rows = usage_of(gateway, 2)

    assert [(row["outcome"], row["cause"], row["saved_nanos"]) for row in rows] == [
        ("refused", "", 0),
        ("refused", "remembered_refusal", 0),
    ]


# --- automatic retries of what the cache does not hold ----------------------------------


RETRY = {"x-stainless-retry-count": "1"}


@pytest.mark.parametrize("headers", [NO_STORE, NO_CACHE])
def test_an_sdk_s_retry_gets_what_the_first_attempt_brought(
    gateway: Running, emulator: EmulatorServer, headers: dict[str, str]
) -> None:
    first = gateway.edit(headers=headers)
    retry = gateway.edit(headers=headers | RETRY)

    assert retry.json()["data"] == first.json()["data"]
    assert retry.headers["x-gateway-cache"] == "COALESCED"
    assert retry.headers["x-gateway-cost-usd"] == "0"
    assert emulator.stats()["calls"] == 1


@pytest.mark.parametrize("headers", [NO_STORE, NO_CACHE, {}])
def test_openai_python_that_loses_patience_pays_once(
    gateway: Running, emulator: EmulatorServer, headers: dict[str, str]
) -> None:
    emulator.order({"latency_seconds": 1.5})
    with sdk(gateway, timeout=0.6, max_retries=4, default_headers=headers) as client:
        edited = client.images.edit(
            model="deepshi-image-1", image=PHOTOGRAPH, prompt="make it grey"
        )

    assert edited.data
    assert emulator.stats()["calls"] == 1
    until(lambda: any(row["status"] == 200 for row in usage_of(gateway, 1)))
    served = [row for row in usage_of(gateway, 1) if row["status"] == 200]
    assert {row["cause"] for row in served} == {"automatic_retry"}


def test_openai_python_that_loses_patience_with_a_generation_pays_once(
    gateway: Running, emulator: EmulatorServer
) -> None:
    emulator.order({"latency_seconds": 1.5})
    with sdk(gateway, timeout=0.6, max_retries=4) as client:
        made = client.images.generate(
            model="deepshi-banana-pro", prompt="a boat", extra_body={"size": "64x64"}
        )

    assert made.data
    assert emulator.stats()["calls"] == 1


def test_an_sdk_s_retry_of_a_result_by_address_gets_the_first_attempt_s(
    gateway: Running, emulator: EmulatorServer
) -> None:
    first = gateway.edit(response_format="url")
    retry = gateway.edit(response_format="url", headers=RETRY)

    assert retry.json()["data"] == first.json()["data"]
    assert emulator.stats()["calls"] == 1


def test_a_retry_whose_first_attempt_never_came_is_bought(
    gateway: Running, emulator: EmulatorServer
) -> None:
    assert gateway.edit(headers=NO_STORE | RETRY).headers["x-gateway-cache"] == "BYPASS"


def test_a_retry_gets_nothing_of_another_key_s_no_store(
    settings: Settings, emulator: EmulatorServer
) -> None:
    make_key(settings, name="second", secret="sk-second-key")
    with serving(settings) as gateway:
        gateway.edit(headers=NO_STORE)
        other = gateway.edit(headers=NO_STORE | RETRY, key="sk-second-key")

    assert other.headers["x-gateway-cache"] == "BYPASS"
    assert emulator.stats()["calls"] == 2


def test_a_retry_of_no_cache_in_another_process_gets_the_first_attempt_s(
    settings: Settings, emulator: EmulatorServer
) -> None:
    with serving(settings) as one, serving(settings) as other:
        first = one.edit(headers=NO_CACHE)
        retry = other.edit(headers=NO_CACHE | RETRY)

    assert retry.json()["data"] == first.json()["data"]
    assert emulator.stats()["calls"] == 1


def test_a_retry_of_a_no_cache_that_failed_gets_the_failure_and_a_new_no_cache_buys(
    gateway: Running, emulator: EmulatorServer
) -> None:
    emulator.order({"status": 500})
    first = gateway.edit(headers=NO_CACHE)
    retry = gateway.edit(headers=NO_CACHE | RETRY)
    assert (first.status_code, retry.status_code) == (502, 502)
    assert emulator.stats()["calls"] == 1

    assert gateway.edit(headers=NO_CACHE).status_code == 200


@pytest.mark.parametrize("headers", [{}, NO_CACHE, NO_STORE], ids=["plain", "no-cache", "no-store"])
def test_a_client_that_was_told_to_ask_again_joins_whatever_its_library(
    tmp_path: Path, emulator: EmulatorServer, headers: dict[str, str]
) -> None:
    settings = settings_for(tmp_path, emulator, {"server": {"client_wait_seconds": 1}})
    make_key(settings)
    emulator.order({"latency_seconds": 2.5})
    with serving(settings) as gateway:
        *told_to_ask_again, served = by_status(lambda: gateway.edit(headers=headers))
        assert (set(told_to_ask_again), served) == ({504}, 200)
        assert emulator.stats()["calls"] == 1
        # Having been served, it buys as it asks to.
        after = gateway.edit(headers=headers).headers["x-gateway-cache"]
    assert after == {"": "HIT", "no-cache": "REFRESHED", "no-store": "BYPASS"}[
        headers.get("x-gateway-cache-control", "")
    ]  # fmt: skip
