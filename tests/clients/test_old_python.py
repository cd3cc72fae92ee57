"""The older lines of openai-python, each in an environment of its own, unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.emulator import EmulatorServer
from tests.clients import python_client
from tests.clients.conftest import Prompt
from tests.clients.environments import OLD_OPENAI, python_with
from tests.clients.pictures import halves, opened
from tests.clients.refusals import OWN, UPSTREAM, Case, arrange, check, command_of
from tests.clients.scripts import Script
from tests.clients.sdk_checks import (
    check_first_edit,
    check_generations_and_models,
    check_list_order,
    check_repeat_is_a_hit,
    check_stream_then_hit,
)
from tests.support.serving import Served

LONG = pytest.mark.long
RELEASES = [OLD_OPENAI, pytest.param("openai==2.54.0", marks=LONG)]
CASES = [case for case in (*OWN, *UPSTREAM) if not (case.may_retry and case.status == 503)]
IN_SHORT = CASES[::6]
"""What is tried in each run; the newest release goes through all of them."""


@pytest.fixture(scope="module", params=RELEASES)
def old(
    request: pytest.FixtureRequest, pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Script]:
    python = python_with(request.param)
    log = tmp_path_factory.mktemp("python") / "log"
    with Script([str(python), python_client.__file__], pictures, log) as script:
        yield script


@pytest.mark.parametrize("way", ["handle", "bytes", "path", "tuple"])
def test_every_way_to_give_a_picture_works(
    old: Script, lasting: Served, emulator: EmulatorServer, new_prompt: Prompt, way: str
) -> None:
    check_first_edit(old, lasting, emulator, new_prompt(), {"file": "photo.jpg", "as": way})


def test_a_list_keeps_its_order(
    old: Script, lasting: Served, emulator: EmulatorServer, new_prompt: Prompt
) -> None:
    check_list_order(old, lasting, emulator, new_prompt(), ("handle", "bytes"))


def test_a_mask_and_fields_that_the_library_does_not_know_travel(
    old: Script, lasting: Served, emulator: EmulatorServer, new_prompt: Prompt
) -> None:
    seen = old.edit(
        lasting,
        images=[{"file": "white.png", "as": "handle"}],
        alone=True,
        mask={"file": "mask.png", "as": "handle"},
        extra={"width": 32, "height": 24},
        fields={"prompt": f"invert it, {new_prompt()}"},
    )

    picture = seen["answer"]["data"][0]["b64_json"]
    assert opened(picture).size == (32, 24)
    assert halves(picture) == (0, 255)
    assert emulator.stats()["billed_calls"] == 1


def test_the_same_edit_again_is_a_hit(
    old: Script, lasting: Served, emulator: EmulatorServer, new_prompt: Prompt
) -> None:
    check_repeat_is_a_hit(old, lasting, emulator, new_prompt(), ("handle", "handle"))


def test_generations_and_models(
    old: Script, lasting: Served, emulator: EmulatorServer, new_prompt: Prompt
) -> None:
    check_generations_and_models(old, lasting, emulator, new_prompt())


def test_a_stream_is_read_and_then_hit(
    old: Script, lasting: Served, emulator: EmulatorServer, new_prompt: Prompt
) -> None:
    check_stream_then_hit(old, lasting, emulator, new_prompt())


def test_a_stream_that_fails_raises_and_is_not_bought_again(
    old: Script, lasting: Served, emulator: EmulatorServer, new_prompt: Prompt
) -> None:
    emulator.order({"truncate_stream": True})
    seen = old.edit(lasting, fields={"prompt": new_prompt(), "stream": True})

    assert seen["error"]["class"] == "APIError"
    assert seen["error"]["code"] == "upstream_failed"
    assert seen["tries"] == emulator.stats()["calls"] == 1


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case.name, marks=() if case in IN_SHORT else LONG) for case in CASES],
)
def test_a_refusal_arrives_as_the_right_exception_and_is_retried_only_where_it_may_be(
    old: Script, refusing: Served, emulator: EmulatorServer, new_prompt: Prompt, case: Case
) -> None:
    arrange(case, refusing, emulator, new_prompt())
    command = command_of(case, new_prompt())
    check(case, old.ask(refusing, "edit", **command), emulator, "APIStatusError")
