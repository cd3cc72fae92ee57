"""End users of a real gateway: budgets of their own, held by all processes, and forgetting one."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from gateway.cli import main
from gateway.emulator import EmulatorServer
from gateway.settings import Settings
from tests.api.admin.api_client import Api, admin_settings
from tests.end_to_end.test_budgets import PICTURE, check_spent_is_billed, outcomes
from tests.support.engines import fresh_schema, postgres_url
from tests.support.serving import (
    KEY,
    GatewayProcess,
    Running,
    Served,
    in_state,
    make_key,
    serving,
    settings_for,
    tables_of,
)
from tests.support.usage import usage_of

__all__ = ["postgres_url"]

ADA, BOB = {"x-gateway-user": "ada@example.org"}, {"x-gateway-user": "bob"}
ONE_PICTURE = {"unlimited": True, "end_user_budget_usd": "0.01"}
LONG = pytest.mark.long
_TRIES = 10


def code_of(answer: httpx.Response) -> str:
    return "" if answer.status_code == 200 else answer.json()["error"]["code"]


def test_each_end_user_has_a_budget_whatever_names_them(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    settings = settings_for(tmp_path, emulator)
    make_key(settings, team_terms=ONE_PICTURE)
    with serving(settings) as gateway:
        assert code_of(gateway.edit("one", headers=ADA)) == ""
        refused = gateway.edit("two", headers=ADA, user="bob")
        assert code_of(gateway.edit("one", headers=ADA)) == ""
        assert code_of(gateway.edit("two", user="bob")) == ""
        assert code_of(gateway.edit("three", safety_identifier="bob", user="eve")) == (
            "end_user_budget"
        )
        unnamed = gateway.edit("one")

    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (429, "end_user_budget")
    assert (error["level"], error["limit"], error["spent"]) == ("user", "0.01", "0.01")
    assert refused.headers["x-should-retry"] == "false"
    assert "ada" not in refused.text
    assert unnamed.status_code == 400
    assert (unnamed.json()["error"]["code"], unnamed.json()["error"]["param"]) == (
        "missing_field", "user",
    )  # fmt: skip
    check_spent_is_billed(settings, emulator, 2)


def test_a_follower_buys_when_the_leaders_user_has_no_money(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    """Ada's money is in flight for another edit; Bob follows her, and is served."""
    settings = settings_for(tmp_path, emulator)
    make_key(settings, team_terms=ONE_PICTURE)
    with serving(settings) as gateway:
        assert code_of(gateway.edit("one", headers=ADA)) == ""
        assert code_of(gateway.edit("two", headers=ADA)) == "end_user_budget"
        assert gateway.edit("two", headers=BOB).headers["x-gateway-cache"] == "MISS"
        assert gateway.edit("two", headers=ADA).headers["x-gateway-cache"] == "HIT"


def test_names_are_nowhere_in_the_state_or_the_log(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    settings = settings_for(tmp_path, emulator)
    make_key(settings)
    with serving(settings) as gateway:
        gateway.edit("one", headers=ADA)
        rows = usage_of(gateway, 1)
    assert rows[0]["end_user"].startswith("user_")
    assert settings.state.sqlite_file is not None
    files = settings.state.sqlite_file.parent.glob("gateway.db*")
    assert not any(b"ada@example.org" in each.read_bytes() for each in files)
    assert "ada@example.org" not in gateway.log.getvalue()


async def burst(
    gateways: Sequence[Served], users: int, each: int, *, at_once: int = 200
) -> list[tuple[str, httpx.Response]]:
    """`each` distinct edits at once for so many users, in turn over the gateways.

    A state that is too busy to answer in time refuses, and is tried again, as an SDK would.
    """
    places = asyncio.Semaphore(at_once)
    limits = httpx.Limits(max_connections=at_once, max_keepalive_connections=0)
    async with httpx.AsyncClient(timeout=300, limits=limits, trust_env=False) as client:

        async def edit(number: int) -> tuple[str, httpx.Response]:
            user = f"user {number % users}"
            async with places:
                for _ in range(_TRIES):
                    answer = await client.post(
                        f"{gateways[number % len(gateways)].base_url}/images/edits",
                        headers={"authorization": f"Bearer {KEY}", "x-gateway-user": user},
                        data={"model": "deepshi-image-1", "prompt": f"grey {number}"},
                        files=[("image[]", ("a.png", PICTURE))],
                    )
                    if answer.status_code != 503:
                        break
                return user, answer

        return await asyncio.gather(*(edit(number) for number in range(users * each)))


def check_burst(tables: Any, settings: Settings, folder: Path, users: int) -> None:
    """$0.05 for each user buys 5 pictures; 7 are asked for at once, of two processes."""
    make_key(settings, team_terms={"unlimited": True, "end_user_budget_usd": "0.05"})
    with ExitStack() as stack:
        gateways = [
            stack.enter_context(GatewayProcess(tables, folder / f"p{number}"))
            for number in range(2)
        ]
        answers = asyncio.run(burst(gateways, users, 7))
        for gateway in gateways:
            gateway.stop()

    bought = Counter(user for user, answer in answers if answer.status_code == 200)
    assert bought == {f"user {number}": 5 for number in range(users)}
    found = outcomes([answer for _, answer in answers])
    assert found.keys() <= {"200", "end_user_budget", "budget_held"}

    async def most_spent(tx: Any) -> int:
        rows = await tx.fetch(
            "SELECT MAX(spent_nanos) AS most FROM balances WHERE account LIKE 'user:team:%'"
        )
        return int(rows[0]["most"])

    assert in_state(settings, most_spent) == 50_000_000


USERS = [pytest.param(12, id="short"), pytest.param(300, id="whole", marks=LONG)]


@pytest.mark.parametrize("users", USERS)
def test_a_burst_of_end_users_overspends_nothing_on_sqlite(
    tmp_path: Path, emulator: EmulatorServer, users: int
) -> None:
    settings = settings_for(tmp_path, emulator)
    check_burst(tables_of(tmp_path, emulator), settings, tmp_path, users)
    check_spent_is_billed(settings, emulator, 5 * users)


@pytest.mark.parametrize("users", USERS)
def test_a_burst_of_end_users_overspends_nothing_on_postgresql(
    tmp_path: Path, emulator: EmulatorServer, postgres_url: str, users: int
) -> None:
    state = {"state": {"url": fresh_schema(postgres_url)}}
    settings = settings_for(tmp_path, emulator, state)
    check_burst(tables_of(tmp_path, emulator, state), settings, tmp_path, users)
    check_spent_is_billed(settings, emulator, 5 * users)


def bought_for_two(gateway: Running) -> None:
    """Ada's picture, which Bob used, one of hers alone, and one of Bob's, which she used."""
    for prompt, headers in (("a", ADA), ("a", BOB), ("b", ADA), ("c", BOB), ("c", ADA)):
        assert code_of(gateway.edit(prompt, headers=headers)) == ""
    usage_of(gateway, 5)


def test_a_person_is_forgotten_over_http(tmp_path: Path, emulator: EmulatorServer) -> None:
    settings = admin_settings(tmp_path, emulator)
    make_key(settings)
    with serving(settings) as gateway:
        root = Api(gateway)
        bought_for_two(gateway)
        user = "ada@example.org"
        shown = root.post("/users/show", user=user)
        would = root.post("/users/forget", user=user, dry_run=True)
        assert (would["results_deleted"], would["results"]) == (0, shown["results"])
        assert sorted(each["used_by_others"] for each in shown["results"]) == [0, 1]
        assert (shown["requests"], shown["spending"][0]["spent_usd"]) == (3, "0.02")

        stranger = root.holder("team:" + root.new_team())
        assert stranger.post("/users/show", user=user)["results"] == []
        done = root.post("/users/forget", user=user)
        assert (done["results_deleted"], done["in_flight"]) == (2, 0)
        assert any("backups" in each for each in done["not_reached"])
        assert root.post("/users/show", user=user)["spending"] == []

        by_user = root.get("/usage", by="user")["data"]
        assert {each["group"]: each["spent_usd"] for each in by_user} == {
            "(forgotten)": "0.02", by_user[1]["group"]: "0.01",
        }  # fmt: skip
        assert root.get("/ledger/verify")["differences"] == []
        assert not any(user in json.dumps(each) for each in root.every("/audit"))
        words = [gateway.edit(prompt, headers=BOB).headers["x-gateway-cache"] for prompt in "abc"]
    assert words == ["MISS", "MISS", "HIT"]


def test_a_person_is_forgotten_on_the_command_line(
    tmp_path: Path, emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(tmp_path, emulator, {"accounts": {"end_users": "as-sent"}})
    make_key(settings)
    monkeypatch.setenv("GATEWAY_STATE__URL", settings.state.url)
    monkeypatch.setenv("GATEWAY_CACHE__URL", settings.cache.url)

    def run(*arguments: str, answer: str = "") -> Any:
        return CliRunner().invoke(main, arguments, input=answer)

    with serving(settings) as gateway:
        bought_for_two(gateway)
        listed = run("usage", "--by", "user", "--json")
        assert "ada@example.org" in [each["group"] for each in json.loads(listed.stdout)["data"]]
        shown = run("users", "show", "ada@example.org")
        assert "2 stored results, 1 of which others used too" in shown.stdout
        kept = run("users", "forget", "ada@example.org", answer="n\n")
        assert "nothing was changed" in kept.stderr
        assert run("users", "forget", "ada@example.org", "--dry-run").exit_code == 0
        done = run("users", "forget", "ada@example.org", "--yes")
        assert "2 results deleted" in done.stdout
        assert ": 1 use by others" in done.stdout
        assert "backups" in done.stdout
        assert gateway.edit("a", headers=BOB).headers["x-gateway-cache"] == "MISS"
    wrong = run("users", "show", "(others)")
    assert wrong.exit_code == 2
    assert "names one person" in wrong.stderr
