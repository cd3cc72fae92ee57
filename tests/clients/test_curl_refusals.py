"""What curl is told when it is refused, and how much it uploads for that."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gateway.emulator import EmulatorServer
from tests.clients.conftest import Prompt
from tests.clients.curl import CHUNKED, Curl
from tests.support.serving import Served

pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl here")


@pytest.fixture
def curl(lasting: Served, pictures: Path) -> Curl:
    return Curl(lasting, pictures)


# --- Expect: 100-continue -----------------------------------------------------------------


def test_a_large_body_is_asked_for_and_then_taken(
    curl: Curl, emulator: EmulatorServer, new_prompt: Prompt
) -> None:
    answer = curl.edit(new_prompt(), "-F", "image[]=@large.png")

    assert "Expect: 100-continue" in answer.sent
    assert "100 Continue" in answer.received
    assert answer.status == 200
    assert emulator.stats()["billed_calls"] == 1


def test_what_the_head_alone_refuses_is_never_uploaded(
    refusing: Served, emulator: EmulatorServer, pictures: Path, new_prompt: Prompt
) -> None:
    curl = Curl(refusing, pictures)
    large = ("-F", "image[]=@large.png")
    refused = {
        "invalid_api_key": curl.edit(new_prompt(), *large, key="sk-nobody"),
        "rate_limit_exceeded": curl.edit(new_prompt(), *large, key="sk-crowded"),
        "body_too_large": curl.edit(new_prompt(), "-F", "image[]=@huge.png"),
        "unsupported_media_type": curl(
            "-H", "Content-Type: image/png", "--data-binary", "@large.png"
        ),
        "bypass_not_allowed": curl.edit(
            new_prompt(), *large, "-H", "X-Gateway-Cache-Control: no-cache", key="sk-tied"
        ),
    }

    for code, answer in refused.items():
        assert answer.code == code
        assert "Expect: 100-continue" in answer.sent
        assert "100 Continue" not in answer.received, code
        assert answer.sent_bytes == 0, code
        assert answer.headers["x-request-id"].startswith("req_")
    assert emulator.stats()["calls"] == 0


@pytest.mark.parametrize("form", [(), CHUNKED])
def test_without_expect_the_refusal_is_seen_all_the_same(
    refusing: Served, pictures: Path, new_prompt: Prompt, form: tuple[str, ...]
) -> None:
    curl = Curl(refusing, pictures)
    large = ("-F", "image[]=@huge.png", "-H", "Expect:", *form)
    unknown = curl.edit(new_prompt(), *large, key="sk-nobody")
    too_large = curl.edit(new_prompt(), *large)

    assert (unknown.status, unknown.code) == (401, "invalid_api_key")
    assert too_large.status == 413
    assert too_large.code == ("image_too_large" if form else "body_too_large")
    assert unknown.headers["connection"] == "close"


def test_a_picture_that_is_too_large_is_refused_while_it_comes_in_chunks(
    refusing: Served, emulator: EmulatorServer, pictures: Path, new_prompt: Prompt
) -> None:
    arguments = ("-F", "image[]=@/dev/stdin;filename=a.png")
    answer = Curl(refusing, pictures).edit(new_prompt(), *arguments, feed="cat large.png")

    assert (answer.status, answer.code) == (413, "image_too_large")
    assert emulator.stats()["calls"] == 0


# --- refusals -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (("-F", "prompt=again", "-F", "image=@photo.jpg"), 400, "duplicate_field"),
        (("-F", "image=https://example.com/a.png"), 400, "unsupported_image_source"),
        (("-F", "image=@notes.txt"), 400, "invalid_image"),
        (("-F", "n=2", "-F", "image=@photo.jpg"), 400, "unsupported_n"),
        ((), 400, "missing_field"),
        (("-F", "image=@photo.jpg") * 6, 400, "too_many_reference_images"),
    ],
)
def test_a_form_that_can_not_be_is_refused(
    curl: Curl, emulator: EmulatorServer, new_prompt: Prompt, arguments: tuple[str, ...],
    status: int, code: str,
) -> None:  # fmt: skip
    answer = curl.edit(new_prompt(), *arguments)

    assert (answer.status, answer.code) == (status, code)
    assert emulator.stats()["calls"] == 0


def test_a_form_that_is_no_form_is_refused(curl: Curl) -> None:
    urlencoded = curl("-d", "model=deepshi-image-1&prompt=grey")
    broken = curl("-H", "Content-Type: multipart/form-data; boundary=b", "-d", "--b")

    assert (urlencoded.status, urlencoded.code) == (415, "unsupported_media_type")
    assert (broken.status, broken.code) == (400, "invalid_multipart")
