from __future__ import annotations

from typing import Any

import pytest

from tests.emulator.calling import opened, pictures_in
from tests.emulator.wires.calling import bearer, data_url, playing

ASKED: dict[str, Any] = {
    "model": "grok-imagine-image",
    "prompt": "grey",
    "image": {"url": data_url()},
    "response_format": "b64_json",
}


def test_an_edit_costs_what_it_makes_and_what_it_is_sent() -> None:
    with playing("xai") as (server, http):
        answer = http.post("/images/edits", json=ASKED, headers=bearer(server))
        assert opened(pictures_in(answer)[0]).format == "JPEG"
        assert answer.json()["usage"] == {"cost_in_usd_ticks": 220_000_000}
        assert server.stats()["billed_nanos"] == 22_000_000


def test_the_answer_is_an_address_unless_base64_is_asked_for() -> None:
    with playing("xai") as (server, http):
        asked = {name: value for name, value in ASKED.items() if name != "response_format"}
        answer = http.post("/images/edits", json=asked, headers=bearer(server))
        assert opened(http.get(answer.json()["data"][0]["url"]).content).format == "JPEG"


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"size": "1024x1024"}, 400),
        ({"images": [{"url": data_url()}]}, 400),
        ({"model": "grok-9"}, 404),
        ({"prompt": "forbidden"}, 400),
    ],
)
def test_refusals_are_two_texts(more: dict[str, Any], status: int) -> None:
    with playing("xai") as (server, http):
        answer = http.post("/images/edits", json={**ASKED, **more}, headers=bearer(server))
    assert answer.status_code == status
    assert answer.json().keys() == {"code", "error"}


def test_a_wrong_key_is_a_400() -> None:
    with playing("xai") as (_, http):
        answer = http.post("/images/edits", json=ASKED, headers={"authorization": "Bearer no"})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("Incorrect API key provided")
