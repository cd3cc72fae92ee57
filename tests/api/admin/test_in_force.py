"""What is changed on one process is soon in force on another: two on one SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from gateway.emulator import EmulatorServer
from gateway.settings import StateSettings
from tests.api.admin.api_client import ROOT_TOKEN, Api, fresh, in_force
from tests.support.serving import GatewayProcess, Served, tables_of


@dataclass
class Pair:
    """`here` is where changes are made; `there` has its own keys in memory."""

    here: GatewayProcess
    there: GatewayProcess

    @property
    def root(self) -> Api:
        return Api(self.here)

    def new_team_with_key(self, **terms: object) -> tuple[str, str, str]:
        """A team, the id and the secret of a key of it that works on both processes."""
        team = self.root.new_team(**terms)
        key = self.root.new_key(team)
        in_force(lambda: all(status(each, key["secret"]) == 200 for each in self.both))
        return team, key["id"], key["secret"]

    @property
    def both(self) -> tuple[Served, Served]:
        return self.here, self.there


def status(served: Served, secret: str) -> int:
    with served.client(secret) as client:
        return client.get("/v1/models").status_code


def code(served: Served, secret: str, prompt: str) -> str:
    """How an edit was refused; "" where it was not."""
    answer = served.edit(prompt, key=secret)
    return "" if answer.status_code == 200 else str(answer.json()["error"]["code"])


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory, emulator_server: EmulatorServer
) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    tables = tables_of(folder, emulator_server, {"admin": {"token": ROOT_TOKEN}})
    with (
        GatewayProcess(tables, folder / "here") as here,
        GatewayProcess(tables, folder / "there") as there,
    ):
        yield Pair(here, there)


def test_a_change_is_looked_for_twice_in_the_second_that_is_promised() -> None:
    assert StateSettings().refresh_seconds <= 0.5


def test_a_new_key_works_everywhere_soon(pair: Pair) -> None:
    key = pair.root.new_key(pair.root.new_team())

    in_force(lambda: all(status(each, key["secret"]) == 200 for each in pair.both))


def test_a_revoked_key_is_refused_everywhere_soon(pair: Pair) -> None:
    _, key, secret = pair.new_team_with_key()
    pair.root.delete(f"/keys/{key}")

    in_force(lambda: all(status(each, secret) == 401 for each in pair.both))


def test_the_keys_of_an_archived_team_are_refused_everywhere_soon(pair: Pair) -> None:
    team, _, secret = pair.new_team_with_key()
    pair.root.delete(f"/teams/{team}")

    in_force(lambda: all(status(each, secret) == 401 for each in pair.both))


def test_a_lowered_limit_holds_everywhere_soon(pair: Pair) -> None:
    team, _, secret = pair.new_team_with_key()
    prompts = (fresh("low") for _ in range(10_000))
    assert code(pair.there, secret, next(prompts)) == ""
    pair.root.patch(f"/teams/{team}", models=["deepshi-solo-1"])

    in_force(lambda: code(pair.there, secret, next(prompts)) == "model_not_allowed")


def test_a_lowered_budget_holds_everywhere_at_once(pair: Pair) -> None:
    team, _, secret = pair.new_team_with_key(budget_usd="5")
    assert code(pair.there, secret, fresh("budget")) == ""
    pair.root.patch(f"/teams/{team}", budget_usd="0.01")

    assert code(pair.there, secret, fresh("budget")) == "insufficient_quota"


@pytest.mark.parametrize("whose", ["the team's", "everybody's"])
def test_a_pause_stops_paid_calls_everywhere_soon_and_hits_go_on(pair: Pair, whose: str) -> None:
    team, _, secret = pair.new_team_with_key()
    named = {"team": team} if whose == "the team's" else {}
    prompts = (fresh("pause") for _ in range(10_000))
    stored = next(prompts)
    assert code(pair.there, secret, stored) == ""
    pair.root.post("/pause", **named)

    in_force(lambda: code(pair.there, secret, next(prompts)) == "spending_paused")
    assert pair.there.edit(stored, key=secret).headers["x-gateway-cache"] == "HIT"
    pair.root.post("/resume", **named)
    in_force(lambda: code(pair.there, secret, next(prompts)) == "")


def test_a_revoked_token_is_refused_everywhere_at_once(pair: Pair) -> None:
    token = pair.root.post("/tokens", name=fresh("token"), role="admin")
    there = Api(pair.there, token["secret"])
    assert there.ask("GET", "/organisation").status_code == 200
    pair.root.delete(f"/tokens/{token['id']}")

    assert there.ask("GET", "/organisation").status_code == 401
