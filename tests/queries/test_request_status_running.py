"""`GET /v1/requests/{id}` for requests that go on: after their client left, elsewhere, or lost."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.emulator import EmulatorServer
from gateway.settings import Settings
from tests.support.crowds import leaving_crowd
from tests.support.engines import fresh_schema, postgres_url
from tests.support.inquiring import SharedGauges, id_of_who_left, retry_of, told_of, told_once
from tests.support.serving import (
    GatewayProcess,
    Overrides,
    Running,
    make_key,
    serving,
    settings_for,
    tables_of,
)
from tests.support.streams import Streaming
from tests.support.waiting import let_go, until

__all__ = ["postgres_url"]

IMPATIENT: Overrides = {"server": {"client_wait_seconds": 0.5}}


def ended(told: SharedGauges) -> bool:
    return bool(told["state"] == "ended")


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


@pytest.fixture(params=["sqlite", "postgres"])
def shared(request: pytest.FixtureRequest, tmp_path: Path, emulator: EmulatorServer) -> Settings:
    """Settings whose gateways share a state, on each engine in turn."""
    more: dict[str, dict[str, object]] = {**IMPATIENT}  # type: ignore[dict-item]
    if request.param == "postgres":
        more["state"] = {"url": fresh_schema(request.getfixturevalue("postgres_url"))}
    settings = settings_for(tmp_path, emulator, more)
    make_key(settings)
    return settings


def test_one_who_was_told_to_ask_again_learns_that_it_runs_and_then_that_it_is_stored(
    shared: Settings, emulator: EmulatorServer
) -> None:
    """In the process that was asked, in another one, and in one that was started later."""
    emulator.order({"hang": True})
    with ExitStack() as stack:
        here, there = (stack.enter_context(serving(shared)) for _ in range(2))
        answer = here.edit()
        assert answer.json()["error"]["code"] == "still_running"
        for gateway in (here, there):
            told = told_once(gateway, answer, lambda told: told["code"] is not None)
            assert (told["state"], told["status"]) == ("running", 504)
            assert (told["charged"], told["cost_usd"], told["held_usd"]) == (None, None, "0.01")
            assert (told["stored"], retry_of(told)) == (False, ("join", True))
        let_go(emulator)
        for gateway in (here, there):
            told = told_once(gateway, answer, lambda told: ended(told) and told["stored"])
            assert (told["code"], told["charged"], told["cost_usd"]) == (
                "still_running",
                True,
                "0.01",
            )
            assert told["upstream_request_id"]
            assert retry_of(told) == ("hit", True)
    with serving(shared) as later:
        again = told_of(later, answer)
        assert (again["cost_usd"], again["stored"], again["stages_ms"]) == (
            "0.01",
            True,
            told["stages_ms"],
        )
    assert emulator.stats()["calls"] == 1


def test_a_follower_that_was_sent_away_pays_nothing_for_the_flight_that_goes_on(
    shared: Settings, emulator: EmulatorServer
) -> None:
    emulator.order({"hang": True})
    with serving(shared) as here, serving(shared) as there:
        here.edit()
        answers = [gateway.edit() for gateway in (here, there)]
        for answer in answers:
            told = told_once(there, answer, lambda told: told["code"] is not None)
            assert (told["state"], told["code"]) == ("running", "still_running")
            assert (told["charged"] or False, told["held_usd"]) == (False, "0")
            assert retry_of(told) == ("join", True)
        let_go(emulator)
        for answer in answers:
            told = told_once(there, answer, lambda told: bool(told["stored"]))
            told = told_once(there, answer, ended)
            assert (told["charged"], told["cost_usd"]) == (False, "0")
            assert retry_of(told) == ("hit", True)
    assert emulator.stats()["calls"] == 1


def test_hits_and_refusals_of_one_process_are_known_in_another(
    shared: Settings,
) -> None:
    with serving(shared) as here, serving(shared) as there:
        here.edit()
        for answer, outcome in ((here.edit(), "hit"), (here.edit(images=[b"x"]), "refused")):
            assert told_once(there, answer, ended)["outcome"] == outcome


def test_a_client_that_left_can_learn_what_became_of_its_edit(
    gateway: Running, emulator: EmulatorServer
) -> None:
    emulator.order({"hang": True})
    assert leaving_crowd(gateway.url, 1, patience=0.5) == 1
    request_id = id_of_who_left(gateway)
    told = told_of(gateway, request_id)
    assert (told["state"], told["code"], told["status"]) == ("running", "client_gone", 499)
    assert retry_of(told) == ("join", True)

    let_go(emulator)
    told = told_once(gateway, request_id, lambda told: ended(told) and told["stored"])
    assert (told["code"], told["charged"], told["cost_usd"]) == ("client_gone", True, "0.01")
    assert retry_of(told) == ("hit", True)


def test_a_stream_that_has_only_begun_runs_and_its_outcome_is_not_known(
    tmp_path: Path, emulator: EmulatorServer, pool: ThreadPoolExecutor
) -> None:
    settings = settings_for(tmp_path, emulator, {"server": {"stream_heartbeat_seconds": 0.2}})
    make_key(settings)
    emulator.order({"hang": True})
    with serving(settings) as gateway:
        streaming = Streaming(pool, gateway)
        assert streaming.heard.begun.wait(30)
        told = told_of(gateway, streaming.heard.headers["x-request-id"])
        assert (told["state"], told["outcome"], told["status"]) == ("running", None, None)
        assert (told["charged"], told["held_usd"]) == (None, "0.01")
        assert retry_of(told) == ("join", True)
        let_go(emulator)
        answer = streaming.result()
        assert told_of(gateway, answer.headers["x-request-id"])["outcome"] == "miss"


def test_what_nobody_may_share_is_joined_only_by_who_was_told_so(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    settings = settings_for(tmp_path, emulator, IMPATIENT)
    make_key(settings)
    emulator.order({"hang": True})
    no_store = {"x-gateway-cache-control": "no-store"}
    with serving(settings) as gateway:
        answer = gateway.edit(headers=no_store)
        assert retry_of(told_of(gateway, answer)) == ("join", True)
        let_go(emulator)
        told = told_once(gateway, answer, ended)
        until(lambda: gateway.app.parts.coalescing.flights.in_flight == 0)
        told = told_of(gateway, answer)
        assert (told["stored"], retry_of(told)) == (False, ("same_answer", True))
        assert gateway.edit(headers=no_store).headers["x-gateway-cost-usd"] == "0"
        assert retry_of(told_of(gateway, answer)) == ("buy", False), "it was told so once"
    assert emulator.stats()["calls"] == 1


def test_a_call_whose_process_was_killed_is_lost_and_then_booked_as_an_estimate(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    more: Overrides = {**IMPATIENT, "state": {**tables_of(tmp_path, emulator)["state"],
                                              "lease_seconds": 1},
                       "upstream": {"timeout_seconds": 2}}  # fmt: skip
    tables = tables_of(tmp_path, emulator, more)
    settings = settings_for(tmp_path, emulator, more)
    make_key(settings)
    emulator.order({"hang": True})
    with GatewayProcess(tables, tmp_path / "killed") as killed:
        answer = killed.edit()
        assert told_once(killed, answer, lambda told: told["code"] is not None)
        killed.kill()
    with serving(settings) as gateway:
        told = told_once(gateway, answer, lambda told: told["state"] == "lost")
        assert (told["charged"], told["held_usd"], retry_of(told)) == (None, "0.01", ("buy", False))
