"""What every SDK must see of the gateway, whatever its language and age."""

from __future__ import annotations

from typing import Any

from gateway.emulator import EmulatorServer
from tests.clients.pictures import halves, is_grey_photograph, opened
from tests.clients.scripts import Script
from tests.support.serving import Served

Image = dict[str, str]


def check_first_edit(
    client: Script, gateway: Served, emulator: EmulatorServer, prompt: str, image: Image
) -> None:
    """One image, sent as a scalar: the documented answer, our headers, one paid call."""
    seen = client.edit(gateway, images=[image], alone=True, fields={"prompt": prompt})

    answer = seen["answer"]
    assert is_grey_photograph(answer["data"][0]["b64_json"])
    assert answer["data"][0]["index"] == 0
    assert (answer["model"], answer["size"]) == ("deepshi-image-1", "226x150")
    assert isinstance(answer["created"], int)
    assert answer["usage"]["cost"]["total_cost"] == 0.01
    assert seen["headers"]["x-gateway-cost-usd"] == "0.01"
    assert seen["request_id"] == seen["headers"]["x-request-id"]
    assert seen["tries"] == emulator.stats()["billed_calls"] == 1


def check_list_order(
    client: Script, gateway: Served, emulator: EmulatorServer, prompt: str, ways: tuple[str, str]
) -> None:
    """Two references, given in these ways, arrive in their order."""
    names = ("white.png", "black.png")
    images = [{"file": name, "as": way} for name, way in zip(names, ways, strict=True)]
    seen = client.edit(gateway, images=images, fields={"prompt": f"mirror it, {prompt}"})

    assert halves(seen["answer"]["data"][0]["b64_json"]) == (0, 255)
    assert seen["headers"]["x-gateway-reference-images"] == "2/5"
    assert emulator.stats()["billed_calls"] == 1


def check_repeat_is_a_hit(
    client: Script, gateway: Served, emulator: EmulatorServer, prompt: str, ways: tuple[str, str]
) -> None:
    """The same picture given in these two ways is bought once."""
    edits = [[{"file": "photo.jpg", "as": way}] for way in ways]
    first, second = (client.edit(gateway, images=e, fields={"prompt": prompt}) for e in edits)

    assert second["headers"]["x-gateway-cache"] == "HIT"
    assert second["answer"]["data"] == first["answer"]["data"]
    assert second["answer"]["usage"]["cost"] == {"total_cost": 0, "saved_cost": 0.01}
    assert emulator.stats()["billed_calls"] == 1


def check_generations_and_models(
    client: Script, gateway: Served, emulator: EmulatorServer, prompt: str
) -> None:
    fields = {"model": "deepshi-banana-pro", "prompt": prompt, "size": "64x48"}
    picture = client.ask(gateway, "generate", fields=fields)["answer"]["data"][0]["b64_json"]
    models = client.ask(gateway, "models")

    assert opened(picture).size == (64, 48)
    assert emulator.stats()["billed_calls"] == 1
    assert models["one"] == models["answer"][0]
    assert models["one"]["id"] == "deepshi-image-1"
    assert models["one"]["edit"] == {"supported": True, "max_reference_images": 5}


def check_stream_then_hit(
    client: Script, gateway: Served, emulator: EmulatorServer, prompt: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A stream with two partial images, and the hit of the same; returns both event lists."""
    fields = {"prompt": prompt, "stream": True, "partial_images": 2}
    first, second = (client.edit(gateway, fields=fields) for _ in range(2))

    kinds = [event["type"] for event in first["events"]]
    assert kinds == ["image_edit.partial_image"] * 2 + ["image_edit.completed"]
    assert is_grey_photograph(first["events"][-1]["b64_json"])
    assert second["headers"]["x-gateway-cache"] == "HIT"
    assert [event["type"] for event in second["events"]] == ["image_edit.completed"]
    assert emulator.stats()["billed_calls"] == 1
    return first["events"], second["events"]
