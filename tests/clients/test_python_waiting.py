"""Time-outs and retries of openai-python: what is waited for is bought once, by count."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest

from gateway.emulator import EmulatorServer
from tests.clients.asking import check_picture, edit, patient
from tests.clients.conftest import Prompt
from tests.clients.pictures import is_grey_photograph
from tests.support.serving import KEY, PHOTOGRAPH, Served


@pytest.mark.parametrize("headers", [{}, {"x-gateway-cache-control": "no-cache"}])
def test_a_client_that_times_out_and_tries_again_buys_once(
    lasting: Served, emulator: EmulatorServer, pictures: Path, new_prompt: Prompt,
    headers: dict[str, str],
) -> None:  # fmt: skip
    emulator.order({"latency_seconds": 1.0})
    seen = edit(lasting, pictures, new_prompt(), timeout_seconds=0.6, headers=headers)

    check_picture(seen)
    assert seen["retry_counts"] == ["0", "1"]
    assert emulator.stats()["calls"] == emulator.stats()["billed_calls"] == 1


async def test_an_async_client_that_times_out_and_tries_again_buys_once(
    lasting: Served, emulator: EmulatorServer, new_prompt: Prompt
) -> None:
    emulator.order({"latency_seconds": 1.0})
    async with openai.AsyncOpenAI(base_url=lasting.base_url, api_key=KEY, timeout=0.6) as client:
        answer = await client.images.edit(
            model="deepshi-image-1", prompt=new_prompt(), image=PHOTOGRAPH
        )

    assert answer.data
    assert is_grey_photograph(answer.data[0].b64_json)
    assert emulator.stats()["calls"] == emulator.stats()["billed_calls"] == 1


def test_a_client_that_gives_up_does_not_lose_the_picture(
    lasting: Served, emulator: EmulatorServer, pictures: Path, new_prompt: Prompt
) -> None:
    prompt = new_prompt()
    emulator.order({"latency_seconds": 0.8})
    given_up = edit(lasting, pictures, prompt, timeout_seconds=0.4, max_retries=0)
    later = edit(lasting, pictures, prompt)

    assert given_up["error"]["class"] == "APITimeoutError"
    check_picture(later)
    assert emulator.stats()["calls"] == emulator.stats()["billed_calls"] == 1


def test_an_edit_that_takes_longer_than_a_client_may_wait_arrives_by_its_retry(
    tmp_path: Path, emulator: EmulatorServer, pictures: Path, new_prompt: Prompt
) -> None:
    emulator.order({"latency_seconds": 1.0})
    with patient(tmp_path, emulator, {"server": {"client_wait_seconds": 0.4}}) as gateway:
        told = edit(gateway, pictures, prompt := new_prompt(), max_retries=0)
        seen = edit(gateway, pictures, prompt, max_retries=2)

    assert (told["error"]["class"], told["error"]["status"], told["error"]["code"]) == (
        "InternalServerError", 504, "still_running",
    )  # fmt: skip
    check_picture(seen)
    assert seen["tries"] == 2
    assert emulator.stats()["calls"] == emulator.stats()["billed_calls"] == 1


def test_a_busy_upstream_is_tried_again_by_the_gateway_and_not_by_the_client(
    lasting: Served, emulator: EmulatorServer, pictures: Path, new_prompt: Prompt
) -> None:
    emulator.order({"status": 429, "retry_after": 0}, {"status": 503, "retry_after": 0})
    seen = edit(lasting, pictures, new_prompt())

    check_picture(seen)
    assert (seen["tries"], emulator.stats()["calls"]) == (1, 3)
    assert emulator.stats()["billed_calls"] == 1


def test_an_ambiguous_failure_is_not_bought_again_until_that_is_asked_for(
    lasting: Served, emulator: EmulatorServer, pictures: Path, new_prompt: Prompt
) -> None:
    prompt = new_prompt()
    emulator.order({"status": 500, "bill": True})
    failed, again = (edit(lasting, pictures, prompt) for _ in range(2))
    calls = emulator.stats()["calls"]
    bought = edit(lasting, pictures, prompt, headers={"x-gateway-cache-control": "no-cache"})

    for seen in (failed, again):
        assert (seen["error"]["code"], seen["tries"]) == ("upstream_failed", 1)
    assert failed["error"]["request_id"] != again["error"]["request_id"]
    assert calls == 1
    check_picture(bought)


def test_an_upstream_that_cannot_be_reached_is_tried_again_by_the_client(
    tmp_path: Path, emulator: EmulatorServer, pictures: Path, new_prompt: Prompt
) -> None:
    tables = {"upstream": {"base_url": "http://127.0.0.1:9/v1", "max_attempts": 1}}
    with patient(tmp_path, emulator, tables) as gateway:
        seen = edit(gateway, pictures, new_prompt(), max_retries=1)

    error = seen["error"]
    assert (error["class"], error["status"]) == ("InternalServerError", 502)
    assert error["code"] == "upstream_unreachable"
    assert "nothing was charged" in error["body"]["message"]
    assert seen["retry_counts"] == ["0", "1"]
