"""Every refusal: its status, its code, the envelope, whether to retry, and nothing bought."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.emulator import EmulatorServer
from gateway.ledger.tables import reports
from tests.support.serving import (
    KEY,
    PHOTOGRAPH,
    Running,
    in_state,
    make_key,
    serving,
    settings_for,
)

PICTURE = ("image[]", ("a.jpg", PHOTOGRAPH))


def check_refused(
    answer: httpx.Response, status: int, code: str, *, param: str | None = None
) -> dict[str, Any]:
    """The OpenAI envelope with all four keys, and the headers that go with it."""
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert {"message", "type", "param", "code"} <= error.keys()
    assert error["message"]
    if param:
        assert error["param"] == param
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers["x-gateway-error-source"] == "gateway"
    return error


def send(gateway: Running, data: dict[str, Any], files: list[Any], **more: Any) -> httpx.Response:
    with gateway.client() as client:
        return client.post("/v1/images/edits", data=data, files=files, **more)


EDIT = {"model": "deepshi-image-1", "prompt": "grey"}


@pytest.mark.parametrize(
    ("data", "files", "status", "code", "param"),
    [
        ({"prompt": "grey"}, [PICTURE], 400, "missing_field", "model"),
        ({"model": "deepshi-image-1"}, [PICTURE], 400, "missing_field", "prompt"),
        (EDIT, [("other", ("a.bin", b"x"))], 400, "missing_field", "image"),
        (EDIT | {"model": "nothing-1"}, [PICTURE], 404, "model_not_found", "model"),
        (EDIT | {"model": "deepshi-banana-pro"}, [PICTURE], 400, "edit_not_supported", "model"),
        (EDIT, [PICTURE] * 6, 400, "too_many_reference_images", "image"),
        (EDIT | {"model": "deepshi-solo-1"}, [PICTURE] * 2, 400, "too_many_reference_images", None),
        (EDIT | {"n": "2"}, [PICTURE], 400, "unsupported_n", "n"),
        (EDIT | {"n": "none"}, [PICTURE], 400, "invalid_field", "n"),
        (EDIT | {"prompt": ["a", "b"]}, [PICTURE], 400, "duplicate_field", "prompt"),
        (EDIT, [("image[]", ("a.jpg", b"no picture"))], 400, "invalid_image", None),
        (EDIT | {"image": "https://example.com/a.png"}, [PICTURE], 400, "unsupported_image_source",
         None),
    ],
)  # fmt: skip
def test_an_edit_that_cannot_be_is_refused_before_anything_is_sent(
    gateway: Running,
    emulator: EmulatorServer,
    data: dict[str, Any],
    files: list[Any],
    status: int,
    code: str,
    param: str | None,
) -> None:
    answer = send(gateway, data, files)

    check_refused(answer, status, code, param=param)
    assert emulator.stats()["calls"] == 0


def test_too_many_references_says_how_many_are_taken(gateway: Running) -> None:
    error = check_refused(gateway.edit(images=6), 400, "too_many_reference_images")

    assert error["limit"] == 5
    assert "5" in error["message"]


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "invalid_api_key"),
        ({"authorization": "Bearer sk-nobody"}, 401, "invalid_api_key"),
        ({"authorization": f"Basic {KEY}"}, 401, "invalid_api_key"),
        ({"authorization": f"Bearer {KEY}", "content-type": "text/plain"}, 415,
         "unsupported_media_type"),
    ],
)  # fmt: skip
def test_the_head_alone_is_refused_before_the_body_is_read(
    gateway: Running, headers: dict[str, str], status: int, code: str
) -> None:
    with gateway.client(key=None) as client:
        answer = client.post("/v1/images/edits", headers=headers, content=b"x" * 2_000_000)

    check_refused(answer, status, code)


def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_sent(gateway: Running) -> None:
    connection = http.client.HTTPConnection(gateway.url.removeprefix("http://"), timeout=10)
    connection.putrequest("POST", "/v1/images/edits")
    connection.putheader("Authorization", f"Bearer {KEY}")
    connection.putheader("Content-Type", "multipart/form-data; boundary=b")
    connection.putheader("Content-Length", str(300_000_001))
    connection.putheader("Expect", "100-continue")
    connection.endheaders()

    answer = connection.getresponse()
    assert answer.status == 413
    assert json.loads(answer.read())["error"]["code"] == "body_too_large"
    connection.close()


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("POST", "/v1/images/edits//", 404, "not_found"),
        ("POST", "/v1/chat/completions", 404, "not_found"),
        ("GET", "/v1/images/edits", 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
        ("GET", "/v1/models/nothing-1", 404, "model_not_found"),
    ],
)
def test_the_framework_s_own_answers_wear_the_envelope(
    gateway: Running, method: str, path: str, status: int, code: str
) -> None:
    with gateway.client() as client:
        answer = client.request(method, path)

    check_refused(answer, status, code)


@pytest.mark.parametrize(
    ("content_type", "body", "code"),
    [
        ("multipart/form-data", b"", "invalid_multipart"),
        ("multipart/form-data; boundary=b", b"", "invalid_multipart"),
        ("multipart/form-data; boundary=b", b"\xff\x00garbage", "invalid_multipart"),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\nx", "invalid_multipart"),
        ("application/json", b"{", "invalid_json"),
        ("application/json", b"[]", "invalid_json"),
        ("application/json", b"\xff", "invalid_json"),
    ],
)
def test_what_can_not_be_read_is_a_400_and_never_a_500(
    gateway: Running, content_type: str, body: bytes, code: str
) -> None:
    with gateway.client() as client:
        answer = client.post(
            "/v1/images/edits", headers={"content-type": content_type}, content=body
        )

    check_refused(answer, 400, code)


def test_a_model_that_the_key_may_not_use_is_refused_and_reported(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    settings = settings_for(tmp_path, emulator)
    make_key(settings, key_terms={"models": "another-model"})
    with serving(settings) as gateway:
        error = check_refused(gateway.edit(), 403, "model_not_allowed", param="model")
        check_refused(gateway.edit(model="made-up"), 403, "model_not_allowed", param="model")

    assert "another-model" in error["message"]
    assert emulator.stats()["calls"] == 0
    lines = in_state(settings, lambda tx: reports.usage_by(tx, "model", "2000-01-01", "9999-12-31"))
    groups = {line.group: line.outcomes for line in lines}
    assert groups == {"(unknown)": {"refused": 1}, "deepshi-image-1": {"refused": 1}}


def test_only_if_cached_does_not_buy(gateway: Running, emulator: EmulatorServer) -> None:
    answer = gateway.edit(headers={"cache-control": "only-if-cached"})

    check_refused(answer, 504, "not_cached")
    assert answer.headers["x-should-retry"] == "false"
    assert emulator.stats()["calls"] == 0


def test_a_connection_goes_on_after_a_refusal_whose_body_was_read(gateway: Running) -> None:
    with gateway.client() as client:
        for _ in range(2):
            answer = client.post("/v1/images/edits", data={"model": "x"}, files=[PICTURE])
            assert answer.status_code in (400, 404)


UPSTREAM = [
    # fault, status, code, retry advice
    ({"status": 400}, 400, None, None),
    ({"status": 401}, 502, "upstream_account", "false"),
    ({"status": 409}, 409, None, "false"),
    ({"status": 500}, 502, "upstream_failed", "false"),
    ({"garbage": True}, 502, "upstream_failed", "false"),
    ({"no_picture": True}, 502, "upstream_failed", "false"),
    ({"truncate": True}, 502, "upstream_failed", "false"),
    ({"reset_before_read": True}, 502, "upstream_failed", "false"),
    ({"reset_after_read": True}, 502, "upstream_failed", "false"),
    ({"reset_mid_answer": True}, 502, "upstream_failed", "false"),
]


@pytest.mark.parametrize(("fault", "status", "code", "retry"), UPSTREAM)
def test_an_upstream_failure_is_told_from_ours_and_says_whether_to_retry(
    gateway: Running,
    emulator: EmulatorServer,
    fault: dict[str, object],
    status: int,
    code: str | None,
    retry: str | None,
) -> None:
    emulator.order(fault)
    answer = gateway.edit()

    assert answer.status_code == status, answer.text
    assert answer.headers["x-gateway-error-source"] == "upstream"
    assert answer.headers.get("x-should-retry") == retry
    assert {"message", "type", "param", "code"} <= answer.json()["error"].keys()
    if code:
        assert answer.json()["error"]["code"] == code


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_upstream_is_tried_again_and_that_buys_once(
    gateway: Running, emulator: EmulatorServer, status: int
) -> None:
    emulator.order({"status": status}, {"status": status})

    assert gateway.edit().status_code == 200
    assert emulator.stats()["billed_calls"] == 1


def test_an_upstream_that_stays_busy_is_said_to_be(
    gateway: Running, emulator: EmulatorServer
) -> None:
    emulator.order(always={"status": 429})
    answer = gateway.edit()

    assert answer.json()["error"]["code"] == "upstream_busy"
    assert answer.status_code == 429
    assert answer.headers["x-should-retry"] == "true"
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert emulator.stats()["billed_calls"] == 0


def test_an_unreachable_upstream_costs_nothing(tmp_path: Path, emulator: EmulatorServer) -> None:
    settings = settings_for(tmp_path, emulator, {"upstream": {"base_url": "http://127.0.0.1:9/v1"}})
    make_key(settings, team_terms={"budget_usd": "0.01"})
    with serving(settings) as gateway:
        answers = [gateway.edit(prompt) for prompt in ("a", "b")]

    for answer in answers:
        assert answer.status_code == 502
        assert answer.json()["error"]["code"] == "upstream_unreachable"
        assert answer.headers["x-should-retry"] == "true"


def test_who_guesses_at_keys_is_slowed_down_and_a_valid_key_goes_on(
    gateway: Running, emulator: EmulatorServer
) -> None:
    with gateway.client(key="sk-guess") as client:
        statuses = [client.post("/v1/images/edits").status_code for _ in range(32)]
        refused = client.get("/v1/models")

    assert statuses == [401] * 30 + [429] * 2
    check_refused(refused, 429, "too_many_failures")
    assert refused.headers["x-should-retry"] == "true"
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert gateway.edit().status_code == 200
