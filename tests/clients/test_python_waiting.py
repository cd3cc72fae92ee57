"""Time-outs and retries of openai-python: what is waited for is bought once, by count."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from gateway.emulator import EmulatorServer
from tests.clients import python_client
from tests.clients.conftest import Prompt
from tests.clients.pictures import is_grey_photograph
from tests.serving import KEY, PHOTOGRAPH, Overrides, Running, make_key, serving, settings_for
from tests.waiting import let_go, until

PHOTO = [{"file": "photo.jpg", "as": "bytes"}]


@contextmanager
def patient(
    folder: Path, emulator: EmulatorServer, tables: Overrides, **terms: object
) -> Iterator[Running]:
    """A gateway with these settings, and a key with these limits."""
    settings = settings_for(folder, emulator, tables)
    make_key(settings, key_terms=terms)
    with serving(settings) as running:
        yield running


def edit(gateway: Running, pictures: Path, prompt: str, **asked: Any) -> dict[str, Any]:
    """An edit as the library makes it, its tries counted."""
    fields = {"model": "deepshi-image-1", "prompt": prompt}
    usual = {"base_url": gateway.base_url, "api_key": KEY, "folder": str(pictures)}
    command = usual | {"do": "edit", "images": PHOTO, "fields": fields} | asked
    return python_client.carried_out(command)


def check_picture(seen: dict[str, Any]) -> None:
    assert "answer" in seen, seen
    assert is_grey_photograph(seen["answer"]["data"][0]["b64_json"])


@pytest.mark.parametrize("headers", [{}, {"cache-control": "no-cache"}])
def test_a_client_that_times_out_and_tries_again_buys_once(
    lasting: Running, emulator: EmulatorServer, pictures: Path, new_prompt: Prompt,
    headers: dict[str, str],
) -> None:  # fmt: skip
    emulator.order({"latency_seconds": 1.0})
    seen = edit(lasting, pictures, new_prompt(), timeout_seconds=0.6, headers=headers)

    check_picture(seen)
    assert seen["retry_counts"] == ["0", "1"]
    assert emulator.stats()["calls"] == emulator.stats()["billed_calls"] == 1


async def test_an_async_client_that_times_out_and_tries_again_buys_once(
    lasting: Running, emulator: EmulatorServer, new_prompt: Prompt
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
    lasting: Running, emulator: EmulatorServer, pictures: Path, new_prompt: Prompt
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
    lasting: Running, emulator: EmulatorServer, pictures: Path, new_prompt: Prompt
) -> None:
    emulator.order({"status": 429, "retry_after": 0}, {"status": 503, "retry_after": 0})
    seen = edit(lasting, pictures, new_prompt())

    check_picture(seen)
    assert (seen["tries"], emulator.stats()["calls"]) == (1, 3)
    assert emulator.stats()["billed_calls"] == 1


def test_an_ambiguous_failure_is_not_bought_again_until_that_is_asked_for(
    lasting: Running, emulator: EmulatorServer, pictures: Path, new_prompt: Prompt
) -> None:
    prompt = new_prompt()
    emulator.order({"status": 500, "bill": True})
    failed, again = (edit(lasting, pictures, prompt) for _ in range(2))
    calls = emulator.stats()["calls"]
    bought = edit(lasting, pictures, prompt, headers={"cache-control": "no-cache"})

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


def test_money_that_is_held_by_another_edit_is_said_to_be(
    tmp_path: Path, emulator: EmulatorServer, pictures: Path, new_prompt: Prompt,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("gateway.treasury.HELD_WAIT_SECONDS", 0.2)
    emulator.order({"hang": True})
    with (
        patient(tmp_path, emulator, {}, budget_usd="0.01") as gateway,
        ThreadPoolExecutor(1) as pool,
    ):
        first = pool.submit(edit, gateway, pictures, new_prompt())
        until(lambda: emulator.stats()["in_flight"] == 1)
        held = edit(gateway, pictures, new_prompt(), max_retries=0)
        let_go(emulator)
        check_picture(first.result(30))
        spent = edit(gateway, pictures, new_prompt())

    assert (held["error"]["class"], held["error"]["code"]) == ("RateLimitError", "budget_held")
    assert held["error"]["body"]["held"] == "0.01"
    assert (spent["error"]["class"], spent["tries"]) == ("RateLimitError", 1)
    assert (spent["error"]["code"], spent["error"]["type"]) == ("insufficient_quota",) * 2
    assert emulator.stats()["billed_calls"] == 1


def test_a_rate_that_is_used_up_says_when_to_come_back(
    tmp_path: Path, emulator: EmulatorServer, new_prompt: Prompt
) -> None:
    with (
        patient(tmp_path, emulator, {}, requests_per_minute=1) as gateway,
        openai.OpenAI(base_url=gateway.base_url, api_key=KEY, max_retries=0) as client,
    ):

        def edit_until_refused() -> None:
            for _ in range(3):  # a minute may end between two of them
                client.images.edit(model="deepshi-image-1", prompt=new_prompt(), image=PHOTOGRAPH)

        with pytest.raises(openai.RateLimitError) as caught:
            edit_until_refused()

    error = caught.value
    assert error.code == "rate_limit_exceeded"
    assert 1 <= int(error.response.headers["retry-after"]) <= 60
    assert error.response.headers["x-should-retry"] == "true"
    assert error.response.headers["x-ratelimit-limit-requests"] == "1"


class Slow:
    """A file whose bytes stop coming for a while."""

    def __init__(self, seconds: float) -> None:
        self._pieces = iter([PHOTOGRAPH[:1000], PHOTOGRAPH[1000:], b""])
        self._seconds = seconds

    def read(self, size: int = -1) -> bytes:
        piece = next(self._pieces, b"")
        if len(piece) > 1000:
            time.sleep(self._seconds)
        return piece

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.read, b"")


def test_an_upload_that_stalls_is_refused_once(
    tmp_path: Path, emulator: EmulatorServer, new_prompt: Prompt
) -> None:
    tries: list[object] = []
    image: Any = ("a.jpg", Slow(1.0), "image/jpeg")
    with (
        patient(tmp_path, emulator, {"server": {"upload_stall_seconds": 0.3}}) as gateway,
        openai.OpenAI(
            base_url=gateway.base_url, api_key=KEY,
            http_client=openai.DefaultHttpxClient(event_hooks={"request": [tries.append]}),
        ) as client,
        pytest.raises(openai.APIStatusError) as caught,
    ):  # fmt: skip
        client.images.edit(model="deepshi-image-1", prompt=new_prompt(), image=image)

    assert (caught.value.status_code, caught.value.code) == (408, "upload_timeout")
    assert len(tries) == 1
    assert emulator.stats()["calls"] == 0


def test_a_gateway_that_shuts_down_is_tried_again(
    tmp_path: Path, emulator: EmulatorServer, pictures: Path, new_prompt: Prompt
) -> None:
    with patient(tmp_path, emulator, {}) as gateway:
        parts = gateway.app.parts
        parts.draining = True
        told = edit(gateway, pictures, new_prompt(), max_retries=0)
        back = threading.Timer(1.0, lambda: setattr(parts, "draining", False))
        back.start()
        seen = edit(gateway, pictures, new_prompt(), max_retries=1)
        back.join()

    error = told["error"]
    assert (error["class"], error["code"]) == ("InternalServerError", "shutting_down")
    check_picture(seen)
    assert seen["tries"] == 2
    assert emulator.stats()["calls"] == 1


def test_who_guesses_at_keys_is_slowed_down_and_a_valid_key_is_not(
    tmp_path: Path, emulator: EmulatorServer, pictures: Path, new_prompt: Prompt
) -> None:
    with patient(tmp_path, emulator, {}) as gateway:
        for _ in range(30):
            with gateway.client("sk-nobody") as guesser:
                assert guesser.get("/v1/models").status_code == 401
        with (
            openai.OpenAI(base_url=gateway.base_url, api_key="sk-a", max_retries=0) as client,
            pytest.raises(openai.RateLimitError) as caught,
        ):
            client.images.edit(model="deepshi-image-1", prompt=new_prompt(), image=PHOTOGRAPH)
        seen = edit(gateway, pictures, new_prompt())

    assert caught.value.code == "too_many_failures"
    assert caught.value.request_id
    assert caught.value.response.headers["x-should-retry"] == "true"
    assert 1 <= int(caught.value.response.headers["retry-after"]) <= 60
    check_picture(seen)
    assert emulator.stats()["calls"] == 1
