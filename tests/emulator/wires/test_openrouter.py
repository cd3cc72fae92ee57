from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.emulator.calling import pictures_in
from tests.emulator.wires.calling import bearer, data_url, playing

MODEL = "bytedance-seed/seedream-4.5"
REFERENCE = {"type": "image_url", "image_url": {"url": data_url()}}


def test_an_edit_states_its_cost_as_a_number() -> None:
    with playing("openrouter") as (server, http):
        asked = {"model": MODEL, "prompt": "grey", "input_references": [REFERENCE]}
        answer = http.post("/images", json=asked, headers=bearer(server))
        assert pictures_in(answer)
        assert answer.json(parse_float=Decimal)["usage"] == {
            "cost": Decimal("0.04"),
            "prompt_tokens": 0,
            "completion_tokens": 4_175,
            "total_tokens": 4_175,
        }
        assert server.stats()["billed_nanos"] == 40_000_000
        assert server.statement()[0]["route"] == "edits"


def test_without_references_it_is_a_generation() -> None:
    with playing("openrouter") as (server, http):
        asked = {"model": MODEL, "prompt": "a lake", "size": "64x64"}
        assert http.post("/images", json=asked, headers=bearer(server)).status_code == 200
        assert server.statement()[0]["route"] == "generations"


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"n": 2}, 400),
        ({"mask": data_url()}, 400),
        ({"model": "nobody/knows-it"}, 404),
        ({"prompt": "forbidden"}, 403),
    ],
)
def test_refusals_have_a_number_as_code(more: dict[str, Any], status: int) -> None:
    with playing("openrouter") as (server, http):
        asked = {"model": MODEL, "prompt": "grey", "input_references": [REFERENCE], **more}
        answer = http.post("/images", json=asked, headers=bearer(server))
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, status)


def test_models_state_how_many_references_they_take() -> None:
    with playing("openrouter") as (server, http):
        items = http.get("/images/models", headers=bearer(server)).json()["data"]
    capabilities = {item["id"]: item["supported_parameters"] for item in items}
    assert capabilities[MODEL]["input_references"] == {"type": "range", "min": 0, "max": 14}
