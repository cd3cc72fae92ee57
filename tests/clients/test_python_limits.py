"""What openai-python's user is told at a limit that passes, and what its retries bring."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest

from gateway.emulator import EmulatorServer
from tests.clients.asking import check_picture, edit, patient
from tests.clients.conftest import Prompt
from tests.support.serving import KEY, PHOTOGRAPH
from tests.support.waiting import let_go, until


def test_money_that_is_held_by_another_edit_is_said_to_be(
    tmp_path: Path, emulator: EmulatorServer, pictures: Path, new_prompt: Prompt,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("gateway.ledger.budget_service.HELD_WAIT_SECONDS", 0.2)
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
        shutdown = gateway.app.parts.operation.shutdown
        shutdown.begin()
        told = edit(gateway, pictures, new_prompt(), max_retries=0)
        back = threading.Timer(1.0, lambda: setattr(shutdown, "in_progress", False))
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
