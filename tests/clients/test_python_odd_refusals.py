"""Refusals of what is no plain edit, or is refused while it is uploaded, as exceptions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from gateway.emulator import EmulatorServer
from tests.support.serving import KEY, Served


@pytest.fixture
def client(refusing: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=refusing.base_url, api_key=KEY) as made:
        yield made


def refused(error: pytest.ExceptionInfo[openai.APIStatusError]) -> tuple[int, str | None]:
    """Status and code of a refusal that is fit to be shown to a user."""
    body: Any = error.value.body
    assert {"message", "type", "param", "code"} <= body.keys()
    assert body["message"]
    assert error.value.request_id
    assert error.value.request_id.startswith("req_")
    return error.value.status_code, error.value.code


@pytest.mark.parametrize(
    "image", [{"image_url": "https://example.com/a.png"}, {"file_id": "file-123"}]
)
def test_a_remote_picture_is_refused(
    client: openai.OpenAI, emulator: EmulatorServer, image: dict[str, str]
) -> None:
    body = {"model": "deepshi-image-1", "prompt": "grey", "images": [image]}
    with pytest.raises(openai.BadRequestError) as caught:
        client.post("/images/edits", cast_to=object, body=body)

    assert refused(caught) == (400, "unsupported_image_source")
    assert emulator.stats()["calls"] == 0


def test_a_field_given_twice_is_refused(
    client: openai.OpenAI, emulator: EmulatorServer, pictures: Path
) -> None:
    photo = (pictures / "photo.jpg").read_bytes()
    with pytest.raises(openai.BadRequestError) as caught:
        client.post(
            "/images/edits",
            cast_to=object,
            body={"model": "deepshi-image-1", "prompt": "grey"},
            files=[("image", photo), ("mask", photo), ("mask", photo)],
            options={"headers": {"Content-Type": "multipart/form-data"}},
        )

    assert refused(caught) == (400, "duplicate_field")
    assert caught.value.param == "mask"
    assert emulator.stats()["calls"] == 0


def test_text_for_a_picture_is_refused(client: openai.OpenAI, emulator: EmulatorServer) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.edit(
            model="deepshi-image-1", prompt="grey", image=b"https://example.com/a.png"
        )

    assert refused(caught) == (400, "invalid_image")
    assert emulator.stats()["calls"] == 0


@pytest.mark.parametrize(
    ("content", "content_type", "status", "code"),
    [
        (b"{", "application/json", 400, "invalid_json"),
        (b"grey", "text/plain", 415, "unsupported_media_type"),
    ],
)
def test_a_body_that_can_t_be_read_is_refused(
    client: openai.OpenAI, emulator: EmulatorServer, content: bytes, content_type: str,
    status: int, code: str,
) -> None:  # fmt: skip
    with pytest.raises(openai.APIStatusError) as caught:
        client.post(
            "/images/edits", cast_to=object, content=content,
            options={"headers": {"Content-Type": content_type}},
        )  # fmt: skip

    assert refused(caught) == (status, code)
    assert emulator.stats()["calls"] == 0


@pytest.mark.parametrize("path", ["/images/variations", "/models/nothing-1"])
def test_what_is_not_there_is_not_found(client: openai.OpenAI, path: str) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.get(path, cast_to=object)

    code = "model_not_found" if path.startswith("/models") else "not_found"
    assert refused(caught) == (404, code)


def test_another_method_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client.get("/images/edits", cast_to=object)

    assert refused(caught) == (405, "method_not_allowed")
    assert "POST" in caught.value.message


def test_a_model_that_is_not_allowed_is_refused_for_generations_too(
    refusing: Served, emulator: EmulatorServer
) -> None:
    with (
        openai.OpenAI(base_url=refusing.base_url, api_key="sk-narrow") as client,
        pytest.raises(openai.PermissionDeniedError) as caught,
    ):
        client.images.generate(model="deepshi-image-1", prompt="a boat")

    assert refused(caught) == (403, "model_not_allowed")
    assert emulator.stats()["calls"] == 0


def test_a_wrong_key_gets_no_list_of_models(refusing: Served) -> None:
    with (
        openai.OpenAI(base_url=refusing.base_url, api_key="sk-nobody") as client,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        client.models.list()

    assert refused(caught) == (401, "invalid_api_key")


@pytest.mark.parametrize(
    ("file", "code"), [("large.png", "image_too_large"), ("huge.png", "body_too_large")]
)
def test_what_is_refused_while_it_is_uploaded_is_uploaded_once(
    refusing: Served, emulator: EmulatorServer, pictures: Path, file: str, code: str
) -> None:
    tries: list[object] = []
    with (
        openai.OpenAI(
            base_url=refusing.base_url, api_key=KEY,
            http_client=openai.DefaultHttpxClient(event_hooks={"request": [tries.append]}),
        ) as client,
        pytest.raises(openai.APIStatusError) as caught,
    ):  # fmt: skip
        client.images.edit(model="deepshi-image-1", prompt="grey", image=pictures / file)

    assert refused(caught) == (413, code)
    assert (len(tries), emulator.stats()["calls"]) == (1, 0)


async def test_a_body_that_says_it_is_too_large_is_refused_once_async(
    refusing: Served, emulator: EmulatorServer, pictures: Path
) -> None:
    tries: list[object] = []

    async def count(request: object) -> None:
        tries.append(request)

    async with openai.AsyncOpenAI(
        base_url=refusing.base_url, api_key=KEY, max_retries=0,
        http_client=openai.DefaultAsyncHttpxClient(event_hooks={"request": [count]}),
    ) as client:  # fmt: skip
        with pytest.raises(openai.APIError) as caught:
            await client.images.edit(
                model="deepshi-image-1", prompt="grey", image=pictures / "huge.png"
            )

    assert caught.value.code == "body_too_large"
