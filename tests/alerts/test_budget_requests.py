"""A key's holder is out of money: what the refusal says, and how more is asked for and granted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.emulator import EmulatorServer
from tests.api.admin.api_client import ROOT_TOKEN, Api
from tests.support.receiver import Receiver, receiving
from tests.support.serving import Overrides, Running, make_key, serving, settings_for
from tests.support.waiting import until

PUBLIC_URL = "https://images.example.com"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def gateway_settings(folder: Path, emulator: EmulatorServer, more: Overrides | None = None) -> Any:
    """A gateway whose team `design` may buy one picture a month; its key `first` has no budget."""
    settings = settings_for(folder, emulator, {"admin": {"token": ROOT_TOKEN}, **(more or {})})
    make_key(settings, team_terms={"budget_usd": "0.01", "owner": "Ada"})
    return settings


def ask(gateway: Running, **document: object) -> Any:
    with gateway.client() as client:
        return client.post("/v1/key/requests", json=document)


def refusal(gateway: Running) -> dict[str, Any]:
    answer = gateway.edit("another")
    assert answer.status_code == 429, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert error["code"] == "insufficient_quota"
    return error


def test_a_team_asks_is_granted_and_buys_again(
    tmp_path: Path, emulator: EmulatorServer, receiver: Receiver
) -> None:
    more: Overrides = {
        "warnings": {"webhook_url": receiver.url, "percents": []},
        "server": {"public_url": f"{PUBLIC_URL}/"},
    }
    with serving(gateway_settings(tmp_path, emulator, more)) as gateway:
        finance = Api(gateway).holder("finance")
        assert gateway.edit("one").status_code == 200
        error = refusal(gateway)
        assert error["message"].startswith("The budget of the team design, $0.01, has $0.01 spent")
        assert f"resets at {error['resets_at']}" in error["message"]
        assert error["url"] in error["message"]
        assert (error["budget"], error["url"]) == ("design", f"{PUBLIC_URL}/console/budgets")

        asked = ask(gateway, usd="0.02", reason="launch <@here>")
        assert asked.status_code == 201, asked.text
        request = asked.json()
        assert (request["status"], request["budget"]) == ("asked", "design")
        assert ask(gateway, usd="5", reason="again").status_code == 409
        (post,) = receiver.wait_for(1, seconds=5.0)
        link = f"{PUBLIC_URL}/console/budgets?request={request['id']}"
        message = dict(post.message)
        text = message.pop("text")
        assert message.pop("at") <= message.pop("sent_at")
        assert message == {
            "event": "budget.asked",
            "id": request["id"],
            "request": request["id"],
            "budget": "design",
            "team": "design",
            "key": "first",
            "owner": "Ada",
            "usd": "0.02",
            "reason": "launch <@here>",
            "url": link,
        }
        assert text == (
            "The team design asks for $0.02 more on the budget design: launch ··here·. Grant it "
            f"with `gateway budgets grant --request {request['id']}` or at {link}"
        )

        granted = finance.post("/budgets/grants", request=request["id"], reason="approved")
        assert (granted["status"], granted["usd"]) == ("granted", "0.02")
        assert granted["granted_by"].startswith("token:")
        assert gateway.edit("two").status_code == gateway.edit("three").status_code == 200
        assert refusal(gateway)["limit"] == "0.03"
        assert ask(gateway, usd="0.01", reason="more").status_code == 201
        assert len(receiver.wait_for(2, seconds=5.0)) == 2
        actions = [row["action"] for row in finance.every("/audit", subject="team:design")]
    assert actions == ["team.create", "budget.ask", "budget.grant", "budget.ask"]


def test_without_a_public_url_a_refusal_names_the_command(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    with serving(gateway_settings(tmp_path, emulator)) as gateway:
        assert gateway.edit("one").status_code == 200
        error = refusal(gateway)
    assert "POST /v1/key/requests" in error["message"]
    assert "`gateway budgets grant design --usd 20`" in error["message"]
    assert "url" not in error


def test_a_request_that_cannot_be_is_refused_by_its_field(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    with serving(gateway_settings(tmp_path, emulator)) as gateway:
        for document, code, param in (
            ({"usd": "5"}, "missing_field", "reason"),
            ({"reason": "launch"}, "missing_field", "usd"),
            ({"usd": 0, "reason": "launch"}, "invalid_field", "usd"),
            ({"usd": "5", "reason": ""}, "invalid_field", "reason"),
            ({"usd": "5", "reason": "x", "until": "2020-01-01"}, "invalid_field", "until"),
            ({"usd": "5", "reason": "x", "until": 5}, "invalid_field", "until"),
            ({"usd": "5", "reason": "x", "level": "user"}, "invalid_field", "level"),
            ({"usd": "5", "reason": "x", "level": "key"}, "invalid_field", "budget"),
            ({"usd": "5", "reason": "x", "team": "press"}, "invalid_field", "team"),
        ):
            error = ask(gateway, **document).json()["error"]
            assert (error["code"], error["param"]) == (code, param), error
        with gateway.client("sk-wrong") as client:
            answer = client.post("/v1/key/requests", json={"usd": "5", "reason": "x"})
        assert answer.status_code == 401


def test_budgets_show_what_is_spent_forecast_needed_and_refused(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    with serving(gateway_settings(tmp_path, emulator)) as gateway:
        root = Api(gateway)
        root.patch("/organisation", budget_usd="5")
        assert gateway.edit("one").status_code == 200
        refusal(gateway)
        refusal(gateway)

        def design() -> Any:
            return root.every("/budgets")[1]

        until(lambda: design()["refused_today"] == 2)
        organisation, team = root.every("/budgets")
        assert (organisation["name"], organisation["left_usd"]) == ("organisation", "4.99")
        assert organisation["refused_today"] == 0
        assert float(team.pop("forecast_usd")) >= 0.01
        assert team.pop("resets_at").endswith("T00:00:00Z")
        assert team == {
            "object": "budget",
            "account": "team:design",
            "name": "design",
            "level": "team",
            "limit_usd": "0.01",
            "granted_usd": "0",
            "period": "month",
            "spent_usd": "0.01",
            "held_usd": "0",
            "left_usd": "0",
            "needed_usd": "0.01",
            "refused_today": 2,
        }
        assert root.get("/teams/design")["budget"]["spent_usd"] == "0.01"
        (key,) = root.every("/keys")
        assert (key["budget"]["limit_usd"], key["budget"]["spent_usd"]) == (None, "0.01")
        lead = root.holder("team:design")
        assert [each["name"] for each in lead.every("/budgets")] == ["design"]
        assert [each["name"] for each in root.every("/budgets", limit=1)] == [
            "organisation",
            "design",
        ]
