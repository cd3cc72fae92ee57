"""`GET /v1/key`: what the holder of a key is told, over a real socket."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.accounts.rules.account_settings import change_settings
from gateway.accounts.tables import keys, organisation, teams
from gateway.database.database import Transaction
from gateway.emulator import EmulatorServer
from gateway.settings import Settings
from tests.support.serving import KEY, Running, author, in_state, make_key, serving, settings_for


def standing(gateway: Running, key: str = KEY) -> dict[str, Any]:
    with gateway.client(key) as client:
        answer = client.get("/v1/key")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def level(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    (one,) = [each for each in found["levels"] if each["level"] == name]
    return dict(one)


def bound_organisation(settings: Settings, **given: object) -> None:
    async def update(tx: Transaction) -> None:
        await organisation.update_organisation(
            tx, lambda terms: change_settings(terms, "organisation", given), author()
        )

    in_state(settings, update)


@pytest.fixture
def bare(tmp_path: Path, emulator: EmulatorServer) -> Settings:
    """Settings of a gateway that has neither team nor key yet."""
    return settings_for(tmp_path, emulator)


def test_a_key_learns_its_limits_and_what_is_left_of_each(bare: Settings) -> None:
    make_key(
        bare,
        team_terms={
            "budget_usd": "5",
            "budget_period": "total",
            "owner": "ann",
            "cost_centre": "cc-7",
            "max_reference_images": 5,
        },
        key_terms={
            "budget_usd": "0.37",
            "budget_period": "day",
            "paid_images_per_day": 3,
            "requests_per_minute": 100,
            "max_in_flight": 4,
            "models": ["deepshi-image-1", "other"],
            "tags": {"project": "atlas"},
            "expires_at": "2999-01-31T18:00:00Z",
        },
    )
    with serving(bare) as gateway:
        assert gateway.edit().status_code == 200
        assert gateway.edit().headers["x-gateway-cache"] == "HIT"
        found = standing(gateway)
    assert (found["object"], found["team"], found["name"]) == ("key", "design", "first")
    assert (found["owner"], found["cost_centre"]) == ("ann", "cc-7")
    assert found["tags"] == {"project": "atlas"}
    assert found["expires_at"] == "2999-01-31T18:00:00Z"
    assert found["models"] == ["deepshi-image-1", "other"]
    assert found["max_reference_images"] == 5
    assert found["spendable_usd"] == "0.36"
    team, key = level(found, "team"), level(found, "key")
    assert team["budget"] == {
        "limit_usd": "5.00",
        "period": "total",
        "spent_usd": "0.01",
        "held_usd": "0",
        "left_usd": "4.99",
        "resets_at": None,
    }
    resets_at = key["budget"].pop("resets_at")
    assert resets_at.endswith("T00:00:00Z")
    assert key["budget"] == {
        "limit_usd": "0.37",
        "period": "day",
        "spent_usd": "0.01",
        "held_usd": "0",
        "left_usd": "0.36",
    }
    assert key["paid_images"] == {
        "limit": 3,
        "bought": 1,
        "held": 0,
        "left": 2,
        "resets_at": resets_at,
    }
    assert key["requests_per_minute"]["limit"] == 100
    assert 97 <= key["requests_per_minute"]["left"] <= 100  # the minute may have turned
    assert key["max_in_flight"] == 4
    assert team["requests_per_minute"] is None


def test_money_held_by_a_call_in_flight_is_not_left(
    bare: Settings, emulator: EmulatorServer
) -> None:
    make_key(bare, team_terms={"budget_usd": "0.05"})
    emulator.order(always={"hang": True})
    with serving(bare) as gateway:
        coalescing_key = threading.Thread(target=gateway.edit)
        coalescing_key.start()
        deadline = time.monotonic() + 5
        while (found := standing(gateway))["spendable_usd"] == "0.05":
            assert time.monotonic() < deadline
            time.sleep(0.02)
        emulator.clear_faults()
        while coalescing_key.is_alive():  # it may be on its way to the upstream still
            emulator.release()
            coalescing_key.join(0.05)
    budget = level(found, "team")["budget"]
    assert (budget["spent_usd"], budget["held_usd"], budget["left_usd"]) == ("0", "0.01", "0.04")
    assert found["spendable_usd"] == "0.04"


def test_without_any_budget_everything_is_spendable(gateway: Running) -> None:
    found = standing(gateway)
    assert found["spendable_usd"] is None
    assert level(found, "key")["budget"] == {
        "limit_usd": None,
        "period": "total",
        "spent_usd": "0",
        "held_usd": "0",
        "left_usd": None,
        "resets_at": None,
    }


def test_what_others_spend_is_not_told_unless_the_organisation_bounds_it(bare: Settings) -> None:
    make_key(bare)
    make_key(bare, team="press", secret="sk-of-the-press-1234567890")
    with serving(bare) as gateway:
        assert gateway.edit(key="sk-of-the-press-1234567890").status_code == 200
        unbound = level(standing(gateway), "organisation")
        bound_organisation(bare, budget_usd="1", budget_period="total")
        bound = level(standing(gateway), "organisation")
    assert unbound == {"level": "organisation", "name": "organisation", "paused": False}
    assert bound["budget"]["left_usd"] == "0.99"
    assert "paid_images" not in bound


def test_the_least_over_all_levels_is_what_can_be_spent(bare: Settings) -> None:
    make_key(bare, team_terms={"budget_usd": "5"}, key_terms={"budget_usd": "7"})
    bound_organisation(bare, budget_usd="3")
    with serving(bare) as gateway:
        assert standing(gateway)["spendable_usd"] == "3.00"


def test_models_and_reference_caps_are_what_every_level_allows(bare: Settings) -> None:
    bound_organisation(bare, models=["a", "b", "c"], max_reference_images=4)
    make_key(
        bare,
        team_terms={"unlimited": True, "models": ["b", "c"], "max_reference_images": 2},
        key_terms={"models": ["c", "a"], "may_bypass_cache": False},
    )
    with serving(bare) as gateway:
        found = standing(gateway)
    assert (found["models"], found["max_reference_images"]) == (["c"], 2)
    assert found["may_bypass_cache"] is False


def test_a_pause_and_a_raised_limit_show_at_once(gateway: Running, settings: Settings) -> None:
    async def change(tx: Transaction) -> None:
        await organisation.pause(tx, author(), "design")
        await teams.update_team(
            tx, "design", lambda t: change_settings(t, "team", {"budget_usd": "9"}), author()
        )

    assert standing(gateway)["paused"] is False
    in_state(settings, change)
    found = standing(gateway)
    assert (found["paused"], found["spendable_usd"]) == (True, "9.00")
    assert [each["level"] for each in found["levels"] if each["paused"]] == ["team"]


def test_a_key_sees_its_own_spending_and_not_its_neighbours(bare: Settings) -> None:
    make_key(bare)
    make_key(bare, name="second", secret="sk-second-0123456789abcdef")
    with serving(bare) as gateway:
        assert gateway.edit().status_code == 200
        mine, theirs = standing(gateway), standing(gateway, "sk-second-0123456789abcdef")
    assert level(mine, "key")["budget"]["spent_usd"] == "0.01"
    assert level(theirs, "key")["budget"]["spent_usd"] == "0"
    assert level(theirs, "team")["budget"]["spent_usd"] == "0.01"


def test_only_a_valid_key_learns_anything(gateway: Running, settings: Settings) -> None:
    async def revoke(tx: Transaction) -> None:
        await keys.revoke_key(tx, "design/first", author())

    with gateway.client(None) as client:
        without = client.get("/v1/key")
    in_state(settings, revoke)
    deadline = time.monotonic() + 5
    with gateway.client() as client:
        while (revoked := client.get("/v1/key")).status_code == 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    for answer in (without, revoked):
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "invalid_api_key"
    assert "revoked" in revoked.json()["error"]["message"]


def test_other_methods_are_refused_in_the_usual_envelope(gateway: Running) -> None:
    with gateway.client() as client:
        answer = client.delete("/v1/key")
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")


def test_books_that_cannot_be_read_are_a_refusal_that_may_be_tried_again(
    gateway: Running, settings: Settings
) -> None:
    """The state is taken away under the gateway: its tables are renamed."""

    async def take_away(tx: Transaction) -> None:
        await tx.fetch("ALTER TABLE balances RENAME TO gone")

    in_state(settings, take_away)
    with gateway.client() as client:
        answer = client.get("/v1/key")
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "state_unavailable"
    assert answer.headers["x-should-retry"] == "true"
    assert int(answer.headers["retry-after"]) <= 60
