"""What the provider refuses, and how it says so."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from gateway.emulator import EmulatorServer, EmulatorSettings
from tests.emulator.calling import Caller, edit_files, error_of, picture_file


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer sk-other", "sk-emulator"])
def test_a_missing_or_wrong_key_is_refused(caller: Caller, authorization: str) -> None:
    answer = caller.edit(headers={"authorization": authorization})
    assert error_of(answer) == (401, "invalid_api_key")


def test_each_of_several_keys_is_accepted() -> None:
    settings = EmulatorSettings(keys=("sk-first", "sk-second"))
    with EmulatorServer(settings) as server, httpx.Client(trust_env=False) as http:
        statuses = [
            http.get(f"{server.base_url}/models", headers={"authorization": f"Bearer {key}"})
            for key in ("sk-first", "sk-second", "sk-emulator")
        ]
    assert [answer.status_code for answer in statuses] == [200, 200, 401]


def test_an_edit_without_an_image_is_refused(caller: Caller) -> None:
    answer = caller.http.post(
        "/v1/images/edits",
        data={"model": "deepshi-image-1", "prompt": "grey"},
        files={"something": b"else"},
    )
    assert error_of(answer) == (400, "missing_field")
    assert answer.json()["error"]["param"] == "image"


@pytest.mark.parametrize("missing", ["model", "prompt"])
def test_a_missing_field_is_named(caller: Caller, missing: str) -> None:
    fields = {"model": "deepshi-image-1", "prompt": "grey"}
    del fields[missing]
    answer = caller.http.post("/v1/images/edits", data=fields, files=edit_files())
    assert error_of(answer) == (400, "missing_field")
    assert answer.json()["error"]["param"] == missing


@pytest.mark.parametrize(
    ("model", "cap"), [("deepshi-image-1", 5), ("deepshi-solo-1", 1), ("deepshi-collage-14", 14)]
)
def test_as_many_references_as_the_model_takes_and_not_one_more(
    caller: Caller, model: str, cap: int
) -> None:
    picture = picture_file()
    assert caller.edit(model=model, references=[picture] * cap).status_code == 200
    over = caller.edit(model=model, references=[picture] * (cap + 1))
    assert error_of(over) == (400, "too_many_reference_images")


def test_a_generate_only_model_does_not_edit(caller: Caller) -> None:
    assert error_of(caller.edit(model="deepshi-banana-pro")) == (400, "edit_not_supported")


def test_an_unknown_model_is_not_found(caller: Caller) -> None:
    assert error_of(caller.edit(model="deepshi-image-2")) == (404, "model_not_found")


@pytest.mark.parametrize(("model", "n"), [("deepshi-image-1", "2"), ("deepshi-multi-1", "5")])
def test_more_pictures_than_the_model_makes_are_refused(caller: Caller, model: str, n: str) -> None:
    assert error_of(caller.edit(model=model, n=n)) == (400, "unsupported_n")


@pytest.mark.parametrize(
    "field",
    [
        {"n": "0"},
        {"n": "many"},
        {"size": "big"},
        {"size": "0x10"},
        {"size": "5000x10"},
        {"width": "100", "height": "tall"},
        {"aspect_ratio": "16:0"},
        {"resolution": "3K"},
        {"output_format": "gif"},
        {"output_compression": "101"},
        {"response_format": "file"},
        {"stream": "maybe"},
        {"partial_images": "4"},
    ],
)
def test_a_value_that_can_not_be_honoured_is_refused(caller: Caller, field: dict[str, Any]) -> None:
    answer = caller.edit(**field)
    assert error_of(answer) == (400, "invalid_field")
    assert answer.json()["error"]["param"] in field


def test_a_forbidden_prompt_is_refused_by_policy_and_not_billed(caller: Caller) -> None:
    answer = caller.edit("draw the Forbidden thing")
    assert error_of(answer) == (400, "content_policy_violation")
    assert caller.stats()["billed_calls"] == 0


@pytest.mark.parametrize(
    "content",
    [b"no picture", b"", picture_file()[:60], b"GIF89a\x01\x00\x01\x00\x00\x00\x00;"],
    ids=["text", "empty", "cut off", "another format"],
)
def test_a_file_that_is_no_picture_is_refused_and_not_billed(
    caller: Caller, content: bytes
) -> None:
    assert error_of(caller.edit(references=[content])) == (400, "invalid_image")
    assert caller.stats()["billed_calls"] == 0


@pytest.mark.parametrize(
    "mask",
    [picture_file(), picture_file((0, 0, 0, 0), size=(8, 8))],
    ids=["without alpha", "of another size"],
)
def test_a_mask_that_does_not_fit_is_refused(caller: Caller, mask: bytes) -> None:
    assert error_of(caller.edit(mask=mask)) == (400, "invalid_mask")


@pytest.mark.parametrize(
    ("content_type", "body", "refusal"),
    [
        ("application/json", b"{}", (415, "unsupported_media_type")),
        ("multipart/form-data", b"", (400, "invalid_multipart")),
        ("multipart/form-data; boundary=x", b"--y\r\n\r\n", (400, "invalid_multipart")),
    ],
)
def test_a_body_that_is_not_multipart_is_refused(
    caller: Caller, content_type: str, body: bytes, refusal: tuple[int, str]
) -> None:
    answer = caller.http.post(
        "/v1/images/edits", content=body, headers={"content-type": content_type}
    )
    assert error_of(answer) == refusal


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff\xfe\xfd"])
def test_a_generation_that_is_no_json_object_is_refused(caller: Caller, body: bytes) -> None:
    answer = caller.http.post("/v1/images/generations", content=body)
    assert error_of(answer) == (400, "invalid_json")


def test_an_unknown_path_and_a_wrong_method_have_the_envelope_too(caller: Caller) -> None:
    assert error_of(caller.http.post("/v1/chat/completions")) == (404, "not_found")
    assert error_of(caller.http.get("/v1/images/edits")) == (405, "method_not_allowed")
