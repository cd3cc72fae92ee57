"""The older lines of openai-python, each in an environment of its own, unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.emulator import EmulatorServer
from tests.clients import python_client
from tests.clients.conftest import Prompt
from tests.clients.environments import python_with
from tests.clients.pictures import halves, is_grey_photograph, opened
from tests.clients.refusals import OWN, UPSTREAM, Case, arrange, check, command_of
from tests.clients.scripts import Script
from tests.support.serving import Served

RELEASES = ["1.109.1", "2.54.0"]
CASES = [case for case in (*OWN, *UPSTREAM) if not (case.may_retry and case.status == 503)]


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
    image = {"file": "photo.jpg", "as": way}
    seen = old.edit(lasting, images=[image], alone=True, fields={"prompt": new_prompt()})

    answer = seen["answer"]
    assert is_grey_photograph(answer["data"][0]["b64_json"])
    assert answer["data"][0]["index"] == 0
    assert (answer["model"], answer["size"]) == ("deepshi-image-1", "451x300")
    assert isinstance(answer["created"], int)
    assert answer["usage"]["cost"]["total_cost"] == 0.01
    assert seen["headers"]["x-gateway-cost-usd"] == "0.01"
    assert seen["request_id"] == seen["headers"]["x-request-id"]
    assert seen["tries"] == emulator.stats()["billed_calls"] == 1


def test_a_list_keeps_its_order(
    old: Script, lasting: Served, emulator: EmulatorServer, new_prompt: Prompt
) -> None:
    images = [{"file": "white.png", "as": "handle"}, {"file": "black.png", "as": "bytes"}]
    fields = {"prompt": f"mirror it, {new_prompt()}"}
    seen = old.edit(lasting, images=images, fields=fields)

    assert halves(seen["answer"]["data"][0]["b64_json"]) == (0, 255)
    assert seen["headers"]["x-gateway-reference-images"] == "2/5"
    assert emulator.stats()["billed_calls"] == 1


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
    fields = {"prompt": new_prompt()}
    first, second = (old.edit(lasting, fields=fields) for _ in range(2))

    assert second["headers"]["x-gateway-cache"] == "HIT"
    assert second["answer"]["data"] == first["answer"]["data"]
    assert second["answer"]["usage"]["cost"] == {"total_cost": 0, "saved_cost": 0.01}
    assert emulator.stats()["billed_calls"] == 1


def test_generations_and_models(
    old: Script, lasting: Served, emulator: EmulatorServer, new_prompt: Prompt
) -> None:
    fields = {"model": "deepshi-banana-pro", "prompt": new_prompt(), "size": "64x48"}
    picture = old.ask(lasting, "generate", fields=fields)["answer"]["data"][0]["b64_json"]
    models = old.ask(lasting, "models")

    assert opened(picture).size == (64, 48)
    assert emulator.stats()["billed_calls"] == 1
    assert models["one"] == models["answer"][0]
    assert models["one"]["edit"] == {"supported": True, "max_reference_images": 5}


def test_a_stream_is_read_and_then_hit(
    old: Script, lasting: Served, emulator: EmulatorServer, new_prompt: Prompt
) -> None:
    fields = {"prompt": new_prompt(), "stream": True, "partial_images": 2}
    first, second = (old.edit(lasting, fields=fields) for _ in range(2))

    kinds = [event["type"] for event in first["events"]]
    assert kinds == ["image_edit.partial_image"] * 2 + ["image_edit.completed"]
    assert is_grey_photograph(first["events"][-1]["b64_json"])
    assert second["headers"]["x-gateway-cache"] == "HIT"
    assert [event["type"] for event in second["events"]] == ["image_edit.completed"]
    assert emulator.stats()["billed_calls"] == 1


def test_a_stream_that_fails_raises_and_is_not_bought_again(
    old: Script, lasting: Served, emulator: EmulatorServer, new_prompt: Prompt
) -> None:
    emulator.order({"truncate_stream": True})
    seen = old.edit(lasting, fields={"prompt": new_prompt(), "stream": True})

    assert seen["error"]["class"] == "APIError"
    assert seen["error"]["code"] == "upstream_failed"
    assert seen["tries"] == emulator.stats()["calls"] == 1


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_a_refusal_arrives_as_the_right_exception_and_is_retried_only_where_it_may_be(
    old: Script, refusing: Served, emulator: EmulatorServer, new_prompt: Prompt, case: Case
) -> None:
    arrange(case, refusing, emulator, new_prompt())
    command = command_of(case, new_prompt())
    check(case, old.ask(refusing, "edit", **command), emulator, "APIStatusError")
