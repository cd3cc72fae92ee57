"""What every adapter promises, each over sockets: client, gateway, and the provider's emulator."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from gateway.database.database import Transaction
from gateway.emulator import EmulatorServer, EmulatorSettings
from gateway.upstream.adapters import ADAPTERS
from tests.emulator.calling import opened, picture_file
from tests.support.serving import KEY, Running, in_state, make_key, serving, settings_for

REFERENCE = picture_file(size=(64, 48))


@dataclass(frozen=True)
class Provider:
    """How one API is tried."""

    api: str
    model: str
    states_dollars: bool
    fields: dict[str, str] = field(default_factory=dict)
    unsupported: dict[str, str] = field(default_factory=dict)
    """A field that the API can't say, if it is one that can't."""
    takes_mask: bool = False


GPT = {"quality": "low", "size": "1024x1024", "output_format": "jpeg"}
PROVIDERS = (
    Provider("openai", "gpt-image-1", False, GPT, takes_mask=True),
    Provider("azure", "img-prod", False, GPT, takes_mask=True),
    Provider(
        "openrouter",
        "bytedance-seed/seedream-4.5",
        True,
        {"resolution": "1K"},
        {"input_fidelity": "high"},
    ),
    Provider("xai", "grok-imagine-image", True, {"resolution": "1k"}, {"size": "1024x1536"}),
    Provider(
        "gemini", "gemini-2.5-flash-image", False, {"aspect_ratio": "3:2"}, {"background": "opaque"}
    ),
)


@dataclass(frozen=True)
class Tried:
    """A gateway in front of an emulator that plays one API."""

    provider: Provider
    emulator: EmulatorServer
    gateway: Running

    def edit(self, prompt: str = "make it grey", **fields: str) -> httpx.Response:
        given: dict[str, Any] = {**self.provider.fields, **fields}
        return self.gateway.edit(prompt, images=[REFERENCE], model=self.provider.model, **given)

    def booked_nanos(self) -> int:
        """The sum of the ledger."""
        return in_state(self.gateway.settings, _booked_nanos)


async def _booked_nanos(tx: Transaction) -> int:
    (row,) = await tx.fetch("SELECT COALESCE(SUM(cost_nanos), 0) AS nanos FROM ledger")
    return int(row["nanos"])


@pytest.fixture(params=PROVIDERS, ids=lambda provider: provider.api, scope="module")
def tried(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tried]:
    provider: Provider = request.param
    folder: Path = tmp_path_factory.mktemp(provider.api)
    with EmulatorServer(EmulatorSettings(api=provider.api)) as emulator:
        upstream: dict[str, Any] = {"api": provider.api, "circuit_failures": 0}
        if provider.api == "azure":
            upstream["models"] = [provider.model]
        settings = settings_for(folder, emulator, {"upstream": upstream})
        make_key(settings)
        with serving(settings) as gateway:
            yield Tried(provider, emulator, gateway)


def test_every_adapter_is_tried() -> None:
    assert [provider.api for provider in PROVIDERS] == list(ADAPTERS)


def test_an_edit_is_bought_once_and_then_a_hit(tried: Tried) -> None:
    bought, found = tried.edit(), tried.edit()
    assert bought.status_code == 200, bought.text
    assert (bought.headers["x-gateway-cache"], found.headers["x-gateway-cache"]) == ("MISS", "HIT")
    assert tried.emulator.stats()["billed_calls"] == 1
    pictures = [answer.json()["data"][0]["b64_json"] for answer in (bought, found)]
    assert pictures[0] == pictures[1]
    assert opened(base64.b64decode(pictures[0])).format in ("PNG", "JPEG")


def test_an_answer_has_the_token_counts_that_clients_insist_on(tried: Tried) -> None:
    usage = tried.edit("count the tokens").json()["usage"]
    counts = [usage[name] for name in ("input_tokens", "output_tokens", "total_tokens")]
    assert all(type(each) is int for each in counts)
    assert counts[0] + counts[1] == counts[2]
    assert {type(each) for each in usage["input_tokens_details"].values()} == {int}


def test_the_official_client_reads_it(tried: Tried) -> None:
    with openai.OpenAI(base_url=tried.gateway.base_url, api_key=KEY, max_retries=0) as client:
        answer = client.images.edit(
            model=tried.provider.model, prompt="a client of its own", image=REFERENCE
        )
    assert [bool(item.b64_json) for item in answer.data or ()] == [True]
    assert type(answer.usage and answer.usage.total_tokens) is int


def test_a_stream_ends_with_the_picture(tried: Tried) -> None:
    answer = tried.edit("as a stream", stream="true")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "image_edit.completed" in answer.text


def test_the_ledger_grows_by_the_bill_where_dollars_are_stated(tried: Tried) -> None:
    if not tried.provider.states_dollars:
        return
    booked, billed = tried.booked_nanos(), tried.emulator.stats()["billed_nanos"]
    answers = [tried.edit(f"cost number {number}") for number in range(3)]
    grown = tried.emulator.stats()["billed_nanos"] - billed
    assert tried.booked_nanos() - booked == grown > 0
    assert answers[-1].headers["x-gateway-cost-usd"] == tried.emulator.statement()[-1]["cost_usd"]


def test_several_references_travel_in_their_order(tried: Tried) -> None:
    pictures = [picture_file(colour, (64, 48)) for colour in ((255, 0, 0), (0, 0, 255))]
    answers = [
        tried.gateway.edit("side by side", images=order, model=tried.provider.model)
        for order in (pictures, pictures[::-1])
    ]
    first, second = (answer.json()["data"][0]["b64_json"] for answer in answers)
    assert first != second


def test_a_refusal_of_the_prompt_is_passed_on_in_openais_form(tried: Tried) -> None:
    answer = tried.edit("something forbidden")
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error.keys() >= {"message", "type", "param", "code"}
    assert answer.headers["x-gateway-error-source"] == "upstream"


def test_a_key_that_is_refused_is_the_operators_trouble(tmp_path: Path, tried: Tried) -> None:
    upstream: dict[str, Any] = {"api": tried.provider.api, "api_key": "sk-wrong-0123456789"}
    if tried.provider.api == "azure":
        upstream["models"] = [tried.provider.model]
    settings = settings_for(tmp_path, tried.emulator, {"upstream": upstream})
    make_key(settings)
    with serving(settings) as gateway:
        answer = gateway.edit(images=[REFERENCE], model=tried.provider.model)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_account")


def test_what_the_api_cannot_say_is_refused_and_buys_nothing(tried: Tried) -> None:
    before = tried.emulator.stats()["calls"]
    for name, value in tried.provider.unsupported.items():
        error = tried.edit(**{name: value})
        assert error.status_code == 400
        assert error.json()["error"]["code"] == "unsupported_field"
        assert error.json()["error"]["param"] == name
    assert tried.emulator.stats()["calls"] == before


def test_a_mask_travels_or_is_refused(tried: Tried) -> None:
    mask = picture_file((0, 0, 0, 0), (64, 48))
    data = {"model": tried.provider.model, "prompt": "with a mask", **tried.provider.fields}
    files = [("image[]", ("a.png", REFERENCE)), ("mask", ("mask.png", mask))]
    with tried.gateway.client() as client:
        answer = client.post("/v1/images/edits", data=data, files=files)
    if tried.provider.takes_mask:
        assert answer.status_code == 200, answer.text
    else:
        error = answer.json()["error"]
        assert (error["code"], error["param"]) == ("unsupported_field", "mask")


def test_a_lost_answer_is_booked_and_not_bought_again(tried: Tried) -> None:
    tried.emulator.order({"reset_after_read": True})
    billed = tried.emulator.stats()["billed_calls"]
    lost, again = tried.edit("lose the answer"), tried.edit("lose the answer")
    assert [each.json()["error"]["code"] for each in (lost, again)] == ["upstream_failed"] * 2
    assert tried.emulator.stats()["billed_calls"] == billed + 1


def test_documented_defaults_make_no_difference(tried: Tried) -> None:
    plain = tried.edit("by default")
    same = tried.edit("by default", n="1", user="somebody", response_format="b64_json")
    assert plain.status_code == 200
    assert same.headers["x-gateway-cache"] == "HIT"


def test_the_list_of_models_is_openais(tried: Tried) -> None:
    with tried.gateway.client() as client:
        items = client.get("/v1/models").json()["data"]
    model = next(item for item in items if item["id"] == tried.provider.model)
    assert model["object"] == "model"
    assert model["edit"]["supported"] is True
    assert model["edit"]["max_reference_images"] >= 1
