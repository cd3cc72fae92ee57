"""`GET /v1/requests/{id}`: what became of a request that has ended, over a real socket."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from gateway.accounts.tables.audit import Author
from gateway.database.clock import now_ms
from gateway.database.database import Transaction
from gateway.emulator import EmulatorServer
from gateway.ledger.tables import corrections
from gateway.runtime.backends import open_results
from gateway.settings import Settings
from tests.support.inquiring import inquire, retry_of, told_of
from tests.support.serving import KEY, Overrides, Running, in_state, make_key, serving, settings_for

NEIGHBOUR = "sk-neighbour-0123456789abcdef"
NO_CACHE, NO_STORE = (
    {"x-gateway-cache-control": "no-cache"},
    {"x-gateway-cache-control": "no-store"},
)


def set_up(tmp_path: Path, emulator: EmulatorServer, more: Overrides) -> Settings:
    settings = settings_for(tmp_path, emulator, more)
    make_key(settings)
    return settings


def test_a_bought_picture_was_charged_and_asking_again_is_a_hit(gateway: Running) -> None:
    answer = gateway.edit("a prompt of its own")
    told = told_of(gateway, answer)  # before its usage row is written, most likely

    assert {name: told[name] for name in ("object", "state", "route", "model", "outcome")} == {
        "object": "request",
        "state": "ended",
        "route": "edits",
        "model": "deepshi-image-1",
        "outcome": "miss",
    }
    assert (told["status"], told["code"]) == (200, None)
    assert (told["charged"], told["cost_usd"], told["estimated"]) == (True, "0.01", False)
    assert (told["held_usd"], told["saved_usd"]) == ("0", "0")
    assert told["upstream_request_id"] == answer.headers["x-gateway-upstream-request-id"]
    assert told["fingerprint"] in answer.headers["cache-status"]
    assert {"authenticate", "read", "reserve", "forward", "settle"} <= told["stages_ms"].keys()
    assert 0 < told["stages_ms"]["forward"] <= told["ms"]
    assert told["stored"] is True
    assert told["stored_until"] > told["at"]
    assert retry_of(told) == ("hit", True)
    assert "a prompt of its own" not in str(told)


def test_a_hit_was_not_charged_and_says_what_it_saved(gateway: Running) -> None:
    gateway.edit()
    told = told_of(gateway, gateway.edit())

    assert (told["outcome"], told["charged"], told["cost_usd"]) == ("hit", False, "0")
    assert (told["saved_usd"], told["upstream_request_id"]) == ("0.01", None)
    assert retry_of(told) == ("hit", True)


def test_once_the_picture_is_gone_asking_again_is_paid_for_by_who_had_paid_already(
    gateway: Running,
) -> None:
    bought, hit = gateway.edit(), gateway.edit()
    assert told_of(gateway, bought)["stored"] is True

    async def purge() -> int:
        results = open_results(gateway.settings)
        try:
            return await results.purge(lambda _: True)
        finally:
            await results.close()

    assert asyncio.run(purge()) == 1
    assert told_of(gateway, bought)["stored"] is False
    assert retry_of(told_of(gateway, bought)) == ("buy", False)
    assert retry_of(told_of(gateway, hit)) == ("buy", True)


def test_another_key_can_not_tell_a_request_from_one_that_never_was(
    settings: Settings,
) -> None:
    make_key(settings, name="second", secret=NEIGHBOUR)
    never = f"req_{'0' * 32}"
    with serving(settings) as gateway:
        theirs = gateway.edit().headers["x-request-id"]
        asked = ((theirs, NEIGHBOUR), (never, NEIGHBOUR), (never, KEY))
        answers = [inquire(gateway, name, key) for name, key in asked]

    bodies = {a.text.replace(theirs, "ID").replace(never, "ID") for a in answers}
    assert [a.status_code for a in answers] == [404] * 3
    assert len(bodies) == 1
    assert answers[0].json()["error"]["code"] == "not_found"
    assert {frozenset(a.headers) for a in answers} == {frozenset(answers[0].headers)}


@pytest.mark.parametrize("name", ["x", "req_", "req_%00", "req_" + "G" * 32, "%ff", "a" * 3000])
def test_what_is_no_id_of_ours_is_not_found(gateway: Running, name: str) -> None:
    answer = inquire(gateway, name)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert inquire(gateway, name, key=None).status_code == 401


def test_a_failure_that_may_have_cost_is_estimated_remembered_and_later_corrected(
    settings: Settings, gateway: Running, emulator: EmulatorServer
) -> None:
    emulator.order({"status": 500})
    answer = gateway.edit()
    told = told_of(gateway, answer)

    assert (told["outcome"], told["status"], told["code"]) == ("failed", 502, "upstream_failed")
    assert (told["charged"], told["cost_usd"], told["estimated"]) == (True, "0.01", True)
    assert told["stored"] is False
    assert retry_of(told) == ("same_error", True)
    assert 60 < told["retry"]["seconds"] <= 120

    again = told_of(gateway, gateway.edit())
    assert (again["charged"], retry_of(again)) == (False, ("same_error", True))

    async def correct(tx: Transaction) -> None:
        by = Author("test", now_ms(), "the invoice")
        await corrections.correct(tx, answer.headers["x-request-id"], 2_500_000, by)

    in_state(settings, correct)
    told = told_of(gateway, answer)
    assert (told["charged"], told["cost_usd"], told["estimated"]) == (True, "0.0025", False)


def test_a_failure_that_may_have_cost_is_not_safe_to_repeat_once_it_is_forgotten(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    settings = set_up(tmp_path, emulator, {"cache": {"failure_memory_seconds": 0}})
    emulator.order({"status": 500})
    with serving(settings) as gateway:
        told = told_of(gateway, gateway.edit())
    assert (told["charged"], retry_of(told)) == (True, ("buy", False))


def test_a_call_that_never_left_was_not_charged_and_may_be_made_again(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    nowhere = {"upstream": {"base_url": "http://127.0.0.1:9/v1", "max_attempts": 1}}
    with serving(set_up(tmp_path, emulator, nowhere)) as gateway:
        told = told_of(gateway, gateway.edit())
    assert (told["status"], told["code"]) == (502, "upstream_unreachable")
    assert (told["charged"], told["cost_usd"], told["held_usd"]) == (False, "0", "0")
    assert retry_of(told) == ("buy", True)


def test_a_refused_request_was_not_charged_and_would_be_refused_again(gateway: Running) -> None:
    told = told_of(gateway, gateway.edit(images=[b"no picture"]))

    assert (told["outcome"], told["status"], told["code"]) == ("refused", 400, "invalid_image")
    assert (told["charged"], told["cost_usd"]) == (False, "0")
    assert (told["fingerprint"], told["stored"]) == (None, False)
    assert retry_of(told) == ("refused", True)


@pytest.mark.parametrize(("headers", "stored"), [(NO_CACHE, True), (NO_STORE, False)])
def test_what_went_round_the_cache_would_go_round_it_again(
    gateway: Running, headers: dict[str, str], stored: bool
) -> None:
    told = told_of(gateway, gateway.edit(headers=headers))
    assert (told["stored"], retry_of(told)) == (stored, ("buy", False))
    assert ("without that header" in told["retry"]["message"]) is stored


def test_it_answers_while_somebody_else_writes_to_the_state(gateway: Running) -> None:
    """The row may not be written meanwhile, and nothing waits for that."""
    answer = gateway.edit()
    path = gateway.settings.state.url.removeprefix("sqlite:")
    with sqlite3.connect(path, isolation_level=None) as state:
        state.execute("BEGIN IMMEDIATE")
        assert told_of(gateway, answer)["outcome"] == "miss"
        state.execute("ROLLBACK")


def test_it_counts_for_the_rate_as_other_requests_do(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    settings = settings_for(tmp_path, emulator)
    make_key(settings, key_terms={"requests_per_minute": 0})
    with serving(settings) as gateway:
        answer = inquire(gateway, f"req_{'0' * 32}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limit_exceeded")


def test_books_that_cannot_be_read_are_a_refusal_that_may_be_tried_again(
    gateway: Running, settings: Settings
) -> None:
    async def take_away(tx: Transaction) -> None:
        await tx.fetch("ALTER TABLE ledger RENAME TO gone")

    answer = gateway.edit()
    in_state(settings, take_away)
    refused = inquire(gateway, answer.headers["x-request-id"])
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "state_unavailable")
    assert refused.headers["x-should-retry"] == "true"
