"""openai-node, the newest that this machine's Node runs, unchanged against the gateway."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.emulator import EmulatorServer
from tests.clients.conftest import Prompt
from tests.clients.environments import node_with_libraries
from tests.clients.pictures import halves, is_grey_photograph, opened
from tests.clients.refusals import OWN, UPSTREAM, Case, arrange, check, command_of
from tests.clients.scripts import Script
from tests.clients.sdk_checks import (
    check_first_edit,
    check_generations_and_models,
    check_list_order,
    check_repeat_is_a_hit,
    check_stream_then_hit,
)
from tests.support.serving import Served, make_key, serving, settings_for


@pytest.fixture(scope="module")
def node(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Script]:
    program, folder = node_with_libraries()
    log = tmp_path_factory.mktemp("node") / "log"
    with Script([str(program), str(folder / "client.mjs")], pictures, log) as script:
        yield script


@pytest.mark.parametrize("way", ["to file", "typed", "stream", "stream to file", "file"])
def test_every_way_to_give_a_picture_works(
    node: Script, lasting: Served, emulator: EmulatorServer, new_prompt: Prompt, way: str
) -> None:
    image = {"file": "photo.jpg", "as": way, "type": "image/jpeg"}
    check_first_edit(node, lasting, emulator, new_prompt(), image)


def test_a_list_keeps_its_order(
    node: Script, lasting: Served, emulator: EmulatorServer, new_prompt: Prompt
) -> None:
    check_list_order(node, lasting, emulator, new_prompt(), ("stream", "typed"))


def test_a_mask_says_what_may_change(
    node: Script, lasting: Served, emulator: EmulatorServer, new_prompt: Prompt
) -> None:
    seen = node.edit(
        lasting,
        images=[{"file": "white.png", "as": "to file"}],
        alone=True,
        mask={"file": "mask.png", "as": "stream"},
        fields={"prompt": f"invert it, {new_prompt()}"},
    )

    assert halves(seen["answer"]["data"][0]["b64_json"]) == (0, 255)
    assert emulator.stats()["billed_calls"] == 1


def test_fields_that_the_library_does_not_know_travel(
    node: Script, lasting: Served, new_prompt: Prompt
) -> None:
    extra = {"width": 64, "height": 48}
    seen = node.edit(lasting, extra=extra, fields={"prompt": new_prompt(), "user": "somebody"})

    assert opened(seen["answer"]["data"][0]["b64_json"]).size == (64, 48)


def test_several_pictures_of_one_edit(
    node: Script, lasting: Served, emulator: EmulatorServer, new_prompt: Prompt
) -> None:
    fields = {"model": "deepshi-multi-1", "prompt": new_prompt(), "n": 2}
    answer = node.edit(lasting, fields=fields)["answer"]

    assert [each["index"] for each in answer["data"]] == [0, 1]
    assert answer["data"][0]["b64_json"] != answer["data"][1]["b64_json"]
    assert answer["usage"]["cost"]["total_cost"] == 0.06
    assert emulator.stats()["billed_calls"] == 1


def test_the_same_edit_again_is_a_hit_however_its_picture_is_given(
    node: Script, lasting: Served, emulator: EmulatorServer, new_prompt: Prompt
) -> None:
    check_repeat_is_a_hit(node, lasting, emulator, new_prompt(), ("stream", "to file"))


def test_generations_and_models(
    node: Script, lasting: Served, emulator: EmulatorServer, new_prompt: Prompt
) -> None:
    check_generations_and_models(node, lasting, emulator, new_prompt())


@pytest.mark.parametrize("word", ["", "no-cache", "no-store"])
def test_a_client_that_gives_up_waiting_and_tries_again_buys_once(
    node: Script, lasting: Served, emulator: EmulatorServer, new_prompt: Prompt, word: str
) -> None:
    emulator.order({"latency_seconds": 1.0})
    seen = node.edit(
        lasting,
        images=[{"file": "photo.jpg", "as": "to file"}],
        fields={"prompt": new_prompt()},
        headers={"x-gateway-cache-control": word} if word else {},
        timeout_seconds=0.6,
    )

    assert is_grey_photograph(seen["answer"]["data"][0]["b64_json"])
    assert seen["retry_counts"] == ["0", "1"]
    assert emulator.stats()["calls"] == 1


def test_an_edit_that_takes_longer_than_a_client_may_wait_arrives_by_its_retry(
    node: Script, tmp_path: Path, emulator: EmulatorServer, new_prompt: Prompt
) -> None:
    settings = settings_for(tmp_path, emulator, {"server": {"client_wait_seconds": 0.4}})
    make_key(settings)
    emulator.order({"latency_seconds": 1.0})
    with serving(settings) as gateway:
        seen = node.edit(gateway, fields={"prompt": new_prompt()})

    assert is_grey_photograph(seen["answer"]["data"][0]["b64_json"])
    assert seen["tries"] == 2
    assert emulator.stats()["calls"] == 1


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"status": 500}, "upstream_failed"),
        ({"reset_after_read": True}, "upstream_failed"),
        ({"truncate": True}, "upstream_failed"),
        ({"status": 400}, "emulated_failure"),
    ],
)
def test_a_failure_is_bought_once_however_often_it_is_asked_for(
    node: Script, lasting: Served, emulator: EmulatorServer, new_prompt: Prompt,
    fault: dict[str, object], code: str,
) -> None:  # fmt: skip
    fields = {"prompt": new_prompt()}
    emulator.order(fault)
    failures = [node.edit(lasting, fields=fields) for _ in range(2)]

    assert [(seen["error"]["code"], seen["tries"]) for seen in failures] == [(code, 1)] * 2
    assert emulator.stats()["calls"] == 1


def test_a_stream_is_read_and_then_hit(
    node: Script, lasting: Served, emulator: EmulatorServer, new_prompt: Prompt
) -> None:
    first, second = check_stream_then_hit(node, lasting, emulator, new_prompt())

    assert [event.get("partial_image_index") for event in first] == [0, 1, None]
    assert first[-1]["usage"]["cost"]["total_cost"] == 0.01
    assert second[0]["b64_json"] == first[-1]["b64_json"]
    assert second[0]["usage"]["cost"] == {"total_cost": 0, "saved_cost": 0.01}


@pytest.mark.parametrize("fault", ["truncate_stream", "stream_error"])
def test_a_stream_that_fails_throws_and_is_not_bought_again(
    node: Script, lasting: Served, emulator: EmulatorServer, new_prompt: Prompt, fault: str
) -> None:
    emulator.order({fault: True})
    fields = {"prompt": new_prompt(), "stream": True, "partial_images": 1}
    seen = node.edit(lasting, fields=fields)

    assert seen["error"]["code"] == "upstream_failed"
    assert seen["error"]["request_id"].startswith("req_")
    assert seen["tries"] == emulator.stats()["calls"] == 1


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in (*OWN, *UPSTREAM)])
def test_a_refusal_arrives_as_the_right_error_and_is_retried_only_where_it_may_be(
    node: Script, refusing: Served, emulator: EmulatorServer, new_prompt: Prompt, case: Case
) -> None:
    arrange(case, refusing, emulator, new_prompt())
    command = command_of(case, new_prompt())
    check(case, node.ask(refusing, "edit", **command), emulator, "APIError")


@pytest.mark.parametrize(
    ("file", "way", "code"),
    [
        ("large.png", "to file", "image_too_large"),
        ("large.png", "stream", "image_too_large"),
        ("huge.png", "to file", "body_too_large"),
        ("huge.png", "stream", "image_too_large"),  # its size is not declared
    ],
)
def test_what_is_refused_while_it_is_uploaded_is_uploaded_once(
    node: Script, refusing: Served, emulator: EmulatorServer, new_prompt: Prompt,
    file: str, way: str, code: str,
) -> None:  # fmt: skip
    images = [{"file": file, "as": way}]
    seen = node.edit(refusing, images=images, fields={"prompt": new_prompt()})

    assert (seen["error"]["status"], seen["error"].get("code")) == (413, code), seen
    assert (seen["tries"], emulator.stats()["calls"]) == (1, 0)


@pytest.mark.parametrize("way", ["to file", "stream"])
def test_a_key_that_is_refused_while_the_picture_is_uploaded_is_tried_once(
    node: Script, refusing: Served, new_prompt: Prompt, way: str
) -> None:
    images = [{"file": "huge.png", "as": way}]
    fields = {"prompt": new_prompt()}
    seen = node.edit(refusing, api_key="sk-nobody", images=images, fields=fields)

    assert (seen["error"]["class"], seen["tries"]) == ("AuthenticationError", 1), seen
