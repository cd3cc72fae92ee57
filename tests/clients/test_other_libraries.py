"""LiteLLM, pydantic-ai and the Vercel AI SDK, which read `usage` and retry in their own way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.emulator import EmulatorServer, EmulatorSettings
from gateway.settings import load
from tests.clients.conftest import Prompt
from tests.clients.environments import LITELLM, PYDANTIC_AI, node_with_libraries, python_with
from tests.clients.pictures import is_grey_photograph, opened
from tests.clients.scripts import Script
from tests.support.serving import Overrides, Served, make_key, serving

HERE = Path(__file__).parent
NOTHING = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}


@pytest.fixture(scope="module")
def openai() -> Iterator[EmulatorServer]:
    """It counts tokens; the emulator of DeepShi states dollars."""
    with EmulatorServer(EmulatorSettings(api="openai")) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory,
    emulator_server: EmulatorServer,
    openai: EmulatorServer,
) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("libraries")
    tables: Overrides = {
        "server": {"port": 0},
        "upstreams": {
            name: {"base_url": each.base_url, "api_key": each.api_key}
            for name, each in (("deepshi", emulator_server), ("openai", openai))
        },
        "cache": {"url": f"disk:{folder / 'cache'}"},
        "state": {"url": f"sqlite:{folder / 'gateway.db'}"},
    }
    settings = load(Path("/dev/null"), environment={}, overrides=tables)
    make_key(settings)
    with serving(settings) as running:
        yield running


def _command(library: str) -> list[str]:
    if library == "AI SDK":
        node, folder = node_with_libraries()
        return [str(node), str(folder / "ai_sdk.mjs")]
    requirement, script = {
        "LiteLLM": (LITELLM, "litellm_client.py"),
        "pydantic-ai": (PYDANTIC_AI, "pydantic_ai_client.py"),
    }[library]
    return [str(python_with(requirement)), str(HERE / script)]


@pytest.fixture(scope="module", params=["LiteLLM", "pydantic-ai", "AI SDK"])
def library(
    request: pytest.FixtureRequest, pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Script]:
    log = tmp_path_factory.mktemp("library") / "log"
    with Script(_command(request.param), pictures, log) as script:
        yield script


def test_an_answer_that_states_dollars_has_token_counts_of_zero(
    library: Script, gateway: Served, emulator: EmulatorServer, new_prompt: Prompt
) -> None:
    fields = {"prompt": new_prompt()}
    bought, hit = (library.edit(gateway, fields=fields) for _ in range(2))

    assert is_grey_photograph(bought["picture"])
    assert (bought["usage"], hit["usage"]) == (NOTHING, NOTHING)
    assert hit["picture"] == bought["picture"]
    assert emulator.stats()["billed_calls"] == emulator.stats()["calls"] == 1


def test_an_answer_that_counts_tokens_keeps_its_counts(
    library: Script, gateway: Served, openai: EmulatorServer, new_prompt: Prompt
) -> None:
    openai.reset()
    fields = {"model": "gpt-image-1", "prompt": new_prompt()}
    bought, hit = (library.edit(gateway, fields=fields) for _ in range(2))

    assert opened(bought["picture"]).format == "PNG"
    usage = bought["usage"]
    assert usage["output_tokens"] >= 4_160
    assert usage["input_tokens"] > 0
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert (hit["usage"], hit["picture"]) == (NOTHING, bought["picture"])
    assert openai.stats()["billed_calls"] == openai.stats()["calls"] == 1


@pytest.mark.parametrize(
    "fault", [{"status": 500}, pytest.param({"reset_after_read": True}, marks=pytest.mark.long)]
)
def test_a_failure_is_bought_once_however_often_the_library_tries(
    library: Script, gateway: Served, emulator: EmulatorServer, new_prompt: Prompt,
    fault: dict[str, object],
) -> None:  # fmt: skip
    emulator.order(fault)
    failed = library.edit(gateway, fields={"prompt": new_prompt()})

    assert "may have charged" in failed["error"]["message"]
    assert emulator.stats()["calls"] == 1


def test_a_refusal_is_an_exception_that_says_why(
    library: Script, gateway: Served, new_prompt: Prompt
) -> None:
    refused = library.edit(gateway, fields={"model": "unheard-of", "prompt": new_prompt()})

    assert "There is no model 'unheard-of'" in refused["error"]["message"]
