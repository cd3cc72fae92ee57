"""The newest openai-python, sync and async, unchanged against the gateway."""

from __future__ import annotations

import base64
import io
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types import ImagesResponse

from gateway.emulator import EmulatorServer
from tests.clients.conftest import Prompt
from tests.clients.pictures import halves, is_grey_photograph, opened
from tests.support.serving import KEY, Served

MODEL = "deepshi-image-1"
Give = Callable[[Path, ExitStack], Any]


@pytest.fixture
def client(lasting: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=lasting.base_url, api_key=KEY, timeout=30) as made:
        yield made


@pytest.fixture
async def async_client(lasting: Served) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=lasting.base_url, api_key=KEY, timeout=30) as made:
        yield made


def picture(answer: ImagesResponse, index: int = 0) -> str | None:
    assert answer.data is not None
    return answer.data[index].b64_json


def cost(answer: ImagesResponse) -> Any:
    """`usage.cost`, which the library does not know but keeps."""
    assert answer.usage is not None
    return answer.usage.to_dict()["cost"]


def check_answer(answer: ImagesResponse) -> None:
    """The grey photograph, and every field that DeepShi documents, in its type."""
    assert is_grey_photograph(picture(answer))
    assert isinstance(answer.created, int)
    assert answer.size == "226x150"
    assert cost(answer) == {"total_cost": 0.01}
    fields = answer.to_dict()
    assert fields["model"] == MODEL
    assert [each["index"] for each in fields["data"]] == [0]  # type: ignore[attr-defined]
    assert answer._request_id
    assert answer._request_id.startswith("req_")


class Unseekable(io.RawIOBase):
    """A file that can only be read once, as from a pipe; its length is not known."""

    def __init__(self, path: Path) -> None:
        self._file = io.BytesIO(path.read_bytes())
        self.name = str(path)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._file.readinto(buffer)


WAYS: dict[str, Give] = {
    "handle": lambda path, stack: stack.enter_context(path.open("rb")),
    "bytes": lambda path, _: path.read_bytes(),
    "path": lambda path, _: path,
    "memory": lambda path, _: io.BytesIO(path.read_bytes()),
    "pair": lambda path, _: ("a name", path.read_bytes()),
    "triple": lambda path, _: ("a.bin", path.read_bytes(), "application/octet-stream"),
    "wrong type": lambda path, _: ("a.png", path.read_bytes(), "image/png"),
    "four": lambda path, _: ("a.jpg", path.read_bytes(), "image/jpeg", {"X-Part": "1"}),
    "pipe": lambda path, _: ("a.jpg", Unseekable(path), "image/jpeg"),
}


@pytest.mark.parametrize("name", ["photo.jpg", 'Ünïcödé "quoted" photo.jpg'])
@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_give_a_picture_works(
    client: openai.OpenAI, emulator: EmulatorServer, pictures: Path, new_prompt: Prompt,
    way: str, name: str,
) -> None:  # fmt: skip
    with ExitStack() as stack:
        image = WAYS[way](pictures / name, stack)
        answer = client.images.edit(model=MODEL, prompt=new_prompt(), image=image)

    check_answer(answer)
    assert emulator.stats()["billed_calls"] == 1


@pytest.mark.parametrize("way", WAYS)
async def test_every_way_to_give_a_picture_works_async(
    async_client: openai.AsyncOpenAI, emulator: EmulatorServer, pictures: Path,
    new_prompt: Prompt, way: str,
) -> None:  # fmt: skip
    with ExitStack() as stack:
        image = WAYS[way](pictures / "photo.jpg", stack)
        answer = await async_client.images.edit(model=MODEL, prompt=new_prompt(), image=image)

    check_answer(answer)
    assert emulator.stats()["billed_calls"] == 1


def test_a_list_keeps_its_order_whatever_it_is_made_of(
    client: openai.OpenAI, emulator: EmulatorServer, pictures: Path, new_prompt: Prompt
) -> None:
    with (pictures / "white.png").open("rb") as white:
        images: list[Any] = [white, ("b.png", (pictures / "black.png").read_bytes(), "image/png")]
        raw = client.images.with_raw_response.edit(
            model=MODEL, prompt=f"mirror it, {new_prompt()}", image=images
        )

    assert halves(picture(raw.parse())) == (0, 255)
    assert raw.headers["x-gateway-reference-images"] == "2/5"
    assert emulator.stats()["billed_calls"] == 1


async def test_a_list_of_five_async(
    async_client: openai.AsyncOpenAI, emulator: EmulatorServer, pictures: Path, new_prompt: Prompt
) -> None:
    images = [pictures / "white.png"] * 4 + [pictures / "white.webp"]
    raw = await async_client.images.with_raw_response.edit(
        model=MODEL, prompt=new_prompt(), image=images
    )

    assert opened(picture(raw.parse())).size == (16, 12)
    assert raw.headers["x-gateway-reference-images"] == "5/5"
    assert emulator.stats()["billed_calls"] == 1


@pytest.mark.parametrize("alone", [True, False])
def test_a_mask_says_what_may_change(
    client: openai.OpenAI, emulator: EmulatorServer, pictures: Path, new_prompt: Prompt,
    alone: bool,
) -> None:  # fmt: skip
    white = pictures / "white.png"
    answer = client.images.edit(
        model=MODEL,
        prompt=f"invert it, {new_prompt()}",
        image=white if alone else [white],
        mask=(pictures / "mask.png").read_bytes(),
    )

    assert halves(picture(answer)) == (0, 255)
    assert emulator.stats()["billed_calls"] == 1


SIZINGS: list[tuple[dict[str, Any], tuple[int, int]]] = [
    ({"width": 64, "height": 48}, (64, 48)),
    ({"aspect_ratio": "16:9", "resolution": "1K"}, (1024, 576)),
    ({"aspect_ratio": "3:4"}, (768, 1024)),
    ({"image_size": "80x60"}, (80, 60)),
]


@pytest.mark.parametrize(("sizing", "size"), SIZINGS)
def test_deepshi_s_sizing_fields_travel(
    client: openai.OpenAI, emulator: EmulatorServer, pictures: Path, new_prompt: Prompt,
    sizing: dict[str, Any], size: tuple[int, int],
) -> None:  # fmt: skip
    answer = client.images.edit(
        model=MODEL, prompt=new_prompt(), image=pictures / "white.png", extra_body=sizing
    )

    assert opened(picture(answer)).size == size
    assert answer.size == f"{size[0]}x{size[1]}"
    assert emulator.stats()["billed_calls"] == 1


def test_the_library_s_own_fields_travel(
    client: openai.OpenAI, pictures: Path, new_prompt: Prompt
) -> None:
    answer = client.images.edit(
        model=MODEL, prompt=new_prompt(), image=pictures / "photo.jpg", size="256x256",
        output_format="webp", output_compression=40, quality="low", background="opaque",
        input_fidelity="high", user="somebody", n=1,
    )  # fmt: skip

    made = opened(picture(answer))
    assert (made.format, made.size) == ("WEBP", (256, 256))


def test_several_pictures_of_one_edit(
    client: openai.OpenAI, emulator: EmulatorServer, pictures: Path, new_prompt: Prompt
) -> None:
    answer = client.images.edit(
        model="deepshi-multi-1", prompt=new_prompt(), image=pictures / "photo.jpg", n=2
    )

    assert is_grey_photograph(picture(answer, 0))
    assert opened(picture(answer, 1)).size == (226, 150)
    assert picture(answer, 0) != picture(answer, 1)
    assert cost(answer) == {"total_cost": 0.06}
    assert [row["n"] for row in emulator.statement()] == [2]


def test_the_raw_response_says_what_it_cost_and_a_second_one_that_it_was_free(
    client: openai.OpenAI, emulator: EmulatorServer, pictures: Path, new_prompt: Prompt
) -> None:
    prompt = new_prompt()
    first, second = (
        client.images.with_raw_response.edit(
            model=MODEL, prompt=prompt, image=pictures / "photo.jpg"
        )
        for _ in range(2)
    )

    assert first.headers["x-gateway-cache"] == "MISS"
    assert first.headers["x-gateway-cost-usd"] == "0.01"
    assert first.request_id == first.headers["x-request-id"] == first.parse()._request_id
    assert second.headers["x-gateway-cache"] == "HIT"
    assert (second.headers["x-gateway-cost-usd"], second.headers["x-gateway-saved-usd"]) == (
        "0", "0.01",
    )  # fmt: skip
    assert cost(second.parse()) == {"total_cost": 0, "saved_cost": 0.01}
    assert picture(second.parse()) == picture(first.parse())
    assert emulator.stats()["billed_calls"] == 1


async def test_the_streamed_raw_response_works_async(
    async_client: openai.AsyncOpenAI, emulator: EmulatorServer, pictures: Path, new_prompt: Prompt
) -> None:
    async with async_client.images.with_streaming_response.edit(
        model=MODEL, prompt=new_prompt(), image=pictures / "photo.jpg"
    ) as response:
        assert response.headers["x-gateway-cost-usd"] == "0.01"
        answer = await response.parse()

    assert is_grey_photograph(picture(answer))
    assert emulator.stats()["billed_calls"] == 1


def test_an_edit_as_json_works(
    client: openai.OpenAI, emulator: EmulatorServer, pictures: Path, new_prompt: Prompt
) -> None:
    data = base64.b64encode((pictures / "photo.jpg").read_bytes()).decode()
    answer = client.post(
        "/images/edits",
        cast_to=ImagesResponse,
        body={
            "model": MODEL,
            "prompt": new_prompt(),
            "images": [{"image_url": f"data:image/jpeg;base64,{data}"}],
        },
    )

    assert is_grey_photograph(picture(answer))
    assert emulator.stats()["billed_calls"] == 1


def test_generations_work(
    client: openai.OpenAI, emulator: EmulatorServer, new_prompt: Prompt
) -> None:
    answer = client.images.generate(
        model="deepshi-banana-pro", prompt=new_prompt(), size="64x48",
        extra_body={"output_format": "jpeg"},
    )  # fmt: skip

    made = opened(picture(answer))
    assert (made.format, made.size) == ("JPEG", (64, 48))
    assert cost(answer) == {"total_cost": 0.02}
    assert [row["route"] for row in emulator.statement()] == ["generations"]


async def test_generations_work_async(
    async_client: openai.AsyncOpenAI, emulator: EmulatorServer, new_prompt: Prompt
) -> None:
    answer = await async_client.images.generate(
        model=MODEL, prompt=new_prompt(), extra_body={"width": 32, "height": 24}
    )

    assert opened(picture(answer)).size == (32, 24)
    assert emulator.stats()["billed_calls"] == 1


def test_the_models_are_listed_with_what_they_can_edit(client: openai.OpenAI) -> None:
    models = {model.id: model for model in client.models.list()}
    one = client.models.retrieve(MODEL)

    assert one == models[MODEL]
    assert (one.object, one.owned_by) == ("model", "deepshi")
    assert one.to_dict()["edit"] == {"supported": True, "max_reference_images": 5}
    assert models["deepshi-banana-pro"].to_dict()["edit"] == {"supported": False}


async def test_the_models_are_listed_async(async_client: openai.AsyncOpenAI) -> None:
    listed = [model.id async for model in async_client.models.list()]

    assert (await async_client.models.retrieve(listed[0])).id == listed[0] == MODEL
