"""Sandbox keys: the emulator answers in a process of its own, and nothing is paid or shared."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gateway.api.sandbox import Sandbox
from gateway.cli import main
from gateway.emulator import EmulatorServer
from gateway.runtime.emulator_process import EmulatorProcess
from gateway.settings import Settings, load
from tests.api.admin.api_client import Api, admin_settings
from tests.support.exposition import scrape, total
from tests.support.serving import KEY, Running, Served, in_state, make_key, serving, tables_of
from tests.support.waiting import until

SANDBOX = "sk-sandbox-0123456789"
SPENT = (
    "SELECT (SELECT COUNT(*) FROM ledger) AS calls, (SELECT COUNT(*) FROM usage_rows) AS requests, "
    "(SELECT COUNT(*) FROM rollups) AS sums, (SELECT COUNT(*) FROM balances) AS balances, "
    "(SELECT COUNT(*) FROM reservations) AS held"
)


@pytest.fixture
def settings(tmp_path: Path, emulator: EmulatorServer) -> Settings:
    found = admin_settings(tmp_path, emulator, {"server": {"public_url": "http://pictures.test"}})
    make_key(found, team_terms={"budget_usd": "1"})
    make_key(found, name="tests", secret=SANDBOX, key_terms={"sandbox": True})
    return found


@pytest.fixture
def gateway(settings: Settings) -> Iterator[Running]:
    with serving(settings) as running:
        yield running


def sandbox_of(gateway: Running) -> Sandbox:
    return gateway.app.sandbox


def emulator_of(gateway: Running) -> EmulatorProcess:
    found = sandbox_of(gateway).emulator
    assert found is not None
    return found


def word(gateway: Served, prompt: str, key: str = SANDBOX, **more: Any) -> str:
    answer = gateway.edit(prompt, key=key, **more)
    assert answer.status_code == 200, answer.text
    assert answer.headers.get("x-gateway-sandbox") == ("true" if key == SANDBOX else None)
    return answer.headers["x-gateway-cache"]


def test_nothing_is_paid_counted_or_shared(
    gateway: Running, settings: Settings, emulator: EmulatorServer
) -> None:
    """A picture in the sandbox, a hit there; the same edit is bought for a key that pays."""
    before = emulator.stats()
    assert [word(gateway, "one"), word(gateway, "one")] == ["MISS", "HIT"]
    with gateway.client(SANDBOX) as client:
        models = client.get("/v1/models")
        status = client.get("/v1/key").json()
        asked = client.post("/v1/key/requests", json={"level": "team", "usd": "1", "reason": "x"})
    shown = scrape(gateway)
    assert emulator.stats()["calls"] == before["calls"] == 0
    assert models.headers["x-gateway-sandbox"] == "true"
    assert "deepshi-image-1" in [each["id"] for each in models.json()["data"]]
    assert (status["sandbox"], status["spendable_usd"]) == (True, None)
    assert asked.json()["error"]["code"] == "permission_denied"
    assert total(shown, "gateway_requests_total") == 0

    async def spent(tx: Any) -> dict[str, int]:
        return dict((await tx.fetch(SPENT))[0])

    assert set(in_state(settings, spent).values()) == {0}
    assert word(gateway, "one", KEY) == "MISS"
    assert word(gateway, "two", KEY) == "MISS"
    assert word(gateway, "two") == "MISS"
    assert emulator.stats()["billed_calls"] == 2


def test_it_answers_with_an_edited_picture_by_a_link_and_as_a_stream(gateway: Running) -> None:
    linked = gateway.edit("grey", key=SANDBOX, response_format="url").json()["data"][0]["url"]
    path = linked.removeprefix("http://pictures.test")
    with gateway.client(None) as client:
        picture = client.get(path)
        other = client.get(path.replace("signature=", "signature=0"))
    assert (picture.status_code, picture.headers["x-gateway-sandbox"]) == (200, "true")
    assert picture.content.startswith(b"\x89PNG")
    assert other.status_code == 403
    streamed = gateway.edit("blue", key=SANDBOX, stream="true")
    assert "image_edit.completed" in streamed.text
    assert streamed.headers["x-gateway-sandbox"] == "true"


def test_its_rate_is_its_own(tmp_path: Path, emulator: EmulatorServer) -> None:
    settings = admin_settings(tmp_path, emulator, {"sandbox": {"requests_per_minute": 2}})
    make_key(settings, team_terms={"unlimited": True, "requests_per_minute": 1})
    make_key(settings, name="tests", secret=SANDBOX, key_terms={"sandbox": True})
    with serving(settings) as gateway:
        assert [word(gateway, "one"), word(gateway, "one")] == ["MISS", "HIT"]
        refused = gateway.edit("one", key=SANDBOX)
        assert word(gateway, "one", KEY) == "MISS"
        too_many = gateway.edit("one")
    assert refused.json()["error"]["limit"] == 2
    assert refused.headers["x-gateway-sandbox"] == "true"
    assert too_many.json()["error"]["level"] == "team"


def test_a_pause_and_a_used_up_budget_concern_paying_keys_alone(
    gateway: Running, settings: Settings
) -> None:
    Api(gateway).post("/pause")
    until(lambda: gateway.edit("one").status_code == 429)
    assert word(gateway, "one") == "MISS"
    quoted = gateway.edit("two", key=SANDBOX, headers={"x-gateway-dry-run": "true"}).json()
    assert (quoted["would"], quoted["left_usd"]) == ("buy", None)


def test_an_emulator_that_is_killed_is_started_again(gateway: Running) -> None:
    assert word(gateway, "one") == "MISS"
    killed = emulator_of(gateway).pid
    assert killed not in (None, os.getpid())
    os.kill(killed or 0, signal.SIGKILL)
    until(lambda: emulator_of(gateway).pid not in (None, killed))
    assert word(gateway, "one") == "HIT"
    assert word(gateway, "two") == "MISS"
    assert "the sandbox's emulator has ended" in gateway.log.getvalue()


def test_without_an_emulator_sandbox_keys_are_refused_and_others_served(
    gateway: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.runtime.emulator_process.PROGRAM", "gateway.no_such_program")
    refused = gateway.edit("one", key=SANDBOX)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "sandbox_unavailable")
    assert word(gateway, "one", KEY) == "MISS"


def test_the_emulator_ends_with_the_gateway(settings: Settings) -> None:
    with serving(settings) as gateway:
        assert word(gateway, "one") == "MISS"
        pid = emulator_of(gateway).pid or 0
        os.kill(pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_key_is_a_sandbox_key_for_good_and_has_no_money(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_STATE__URL", settings.state.url)

    def keys(*arguments: str) -> Any:
        return CliRunner().invoke(main, ["keys", *arguments])

    made = keys("create", "--team", "design", "--name", "more", "--sandbox", "--json")
    assert '"sandbox": true' in made.stdout
    assert "sandbox" in keys("list").stdout
    for arguments, words in (
        (("update", "design/more", "--budget-usd", "1"), "spends nothing: leave out budget_usd"),
        (("update", "design/first", "--sandbox"), "fixed when a key is created"),
    ):
        refused = keys(*arguments)
        assert refused.exit_code == 2
        assert words in refused.stderr


def test_a_sandbox_key_makes_no_trial_edit(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, emulator: EmulatorServer
) -> None:
    monkeypatch.setenv("GATEWAY_STATE__URL", settings.state.url)
    monkeypatch.setenv("GATEWAY_UPSTREAM__BASE_URL", emulator.base_url)
    monkeypatch.setenv("DEEPSHI_API_KEY", emulator.api_key)
    monkeypatch.setenv("GATEWAY_CACHE__URL", settings.cache.url)
    tried = CliRunner().invoke(main, ["check", "--try-edit", "--yes", "--key", "design/tests"])
    assert tried.exit_code == 1
    assert "is a sandbox key, which buys nothing" in tried.stdout
    assert emulator.stats()["billed_calls"] == 0


MODELS = {
    "openai": ("https://api.openai.com/v1", "gpt-image-1"),
    "compatible": ("http://127.0.0.1:9/v1", "some-model"),
    "azure": ("http://127.0.0.1:9", "img-prod"),
    "openrouter": ("http://127.0.0.1:9/api/v1", "google/gemini-2.5-flash-image"),
    "xai": ("http://127.0.0.1:9/v1", "grok-of-tomorrow"),
    "gemini": ("http://127.0.0.1:9/v1beta", "gemini-2.5-flash-image"),
}


def test_each_upstream_is_played_by_the_interface_of_its_api(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    """No upstream can be reached, and each of their models is answered."""
    upstreams = {
        name: {
            "api": "openai" if name == "compatible" else name,
            "base_url": base_url,
            "api_key": "k",
            "models": [model],
            "edits_path": "/elsewhere" if name == "compatible" else "",
            "proxy": "http://127.0.0.1:9",
        }
        for name, (base_url, model) in MODELS.items()
    }
    models = {
        model: {"targets": [f"{name}/{model}"], "edit_supported": True}
        for name, (_, model) in MODELS.items()
    }
    tables = {**tables_of(tmp_path, emulator), "upstreams": upstreams, "models": models}
    del tables["upstream"]
    settings = load(Path(os.devnull), environment={}, overrides=tables)
    make_key(settings, secret=SANDBOX, key_terms={"sandbox": True})
    with serving(settings) as gateway:
        for name, (_, model) in MODELS.items():
            answer = gateway.edit(key=SANDBOX, model=model)
            assert answer.status_code == 200, (name, answer.text)
            assert answer.headers["x-gateway-upstream"] == name
