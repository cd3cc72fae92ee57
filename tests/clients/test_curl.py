"""curl as people use it: from a pipe, over HTTP/1.0, in chunks, as a stream."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gateway.emulator import EmulatorServer
from tests.clients.conftest import Prompt
from tests.clients.curl import CHUNKED, Curl
from tests.clients.pictures import halves, is_grey_photograph, opened
from tests.support.serving import Served

pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl here")


@pytest.fixture
def curl(lasting: Served, pictures: Path) -> Curl:
    return Curl(lasting, pictures)


WAYS: dict[str, tuple[str, ...]] = {
    "bare": ("-F", "image=@photo.jpg"),
    "list": ("-F", "image[]=@photo.jpg"),
    "numbered": ("-F", "image[0]=@photo.jpg"),
    "octets": ("-F", "image[]=@photo.jpg;type=application/octet-stream"),
    "wrong type": ("-F", "image[]=@photo.jpg;type=image/png"),
    "other name": ("-F", 'image[]=@photo.jpg;filename="a; b.png"'),
    "no name": ("-F", "image[]=<photo.jpg;type=image/jpeg"),
    "chunked": (*CHUNKED, "-F", "image[]=@photo.jpg"),
    "http 1.0": ("--http1.0", "-F", "image[]=@photo.jpg"),
    "expect": ("-H", "Expect: 100-continue", "-F", "image[]=@photo.jpg"),
    "expect in chunks": ("-H", "Expect: 100-continue", *CHUNKED, "-F", "image[]=@photo.jpg"),
    "compressed": ("--compressed", "-F", "image[]=@photo.jpg"),
    "upgrade": ("--http2", "-F", "image[]=@photo.jpg"),
    "upgrade in chunks": ("--http2", *CHUNKED, "-F", "image[]=@photo.jpg"),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_send_a_file_works(
    curl: Curl, emulator: EmulatorServer, new_prompt: Prompt, way: str
) -> None:
    answer = curl.edit(new_prompt(), *WAYS[way])

    assert answer.status == 200, answer.body
    assert is_grey_photograph(answer.picture)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-gateway-cost-usd"] == "0.01"
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.body["usage"]["cost"]["total_cost"] == 0.01
    assert emulator.stats()["billed_calls"] == 1


PIPES: dict[str, tuple[str, ...]] = {
    "@-": ("-F", "image[]=@-"),
    "@- with a name": ("-F", "image[]=@-;filename=a.jpg"),
    "<-": ("-F", "image=<-"),
    "@- in chunks": (*CHUNKED, "-F", "image[]=@-"),
    "a pipe by its path": ("-F", "image[]=@/dev/stdin"),
    "a pipe by its path with a name": ("-F", "image[]=@/dev/stdin;filename=a.jpg"),
}


@pytest.mark.parametrize("way", PIPES)
def test_a_file_from_a_pipe_works(
    curl: Curl, emulator: EmulatorServer, new_prompt: Prompt, way: str
) -> None:
    answer = curl.edit(new_prompt(), *PIPES[way], feed="cat photo.jpg")

    assert answer.status == 200, answer.body
    assert is_grey_photograph(answer.picture)
    assert emulator.stats()["billed_calls"] == 1


@pytest.mark.parametrize("first", ["image", "image[]"])
@pytest.mark.parametrize("second", ["image", "image[]"])
def test_a_repeated_field_is_a_list_in_its_order(
    curl: Curl, emulator: EmulatorServer, new_prompt: Prompt, first: str, second: str
) -> None:
    files = ("-F", f"{first}=@white.png", "-F", f"{second}=@black.png")
    answer = curl.edit(f"mirror it, {new_prompt()}", *files)

    assert halves(answer.picture) == (0, 255)
    assert answer.headers["x-gateway-reference-images"] == "2/5"
    assert emulator.stats()["billed_calls"] == 1


def test_a_text_that_looks_like_a_file_is_a_text(
    curl: Curl, emulator: EmulatorServer, new_prompt: Prompt
) -> None:
    prompt = f"@grey;type=<{new_prompt()}"
    answer = curl(
        "-F", "model=deepshi-image-1", "--form-string", f"prompt={prompt}",
        "-F", "image[]=@photo.jpg",
    )  # fmt: skip

    assert is_grey_photograph(answer.picture)
    assert emulator.stats()["billed_calls"] == 1


def test_a_mask_says_what_may_change(
    curl: Curl, emulator: EmulatorServer, new_prompt: Prompt
) -> None:
    files = ("-F", "mask=@mask.png", "-F", "image=@white.png")
    answer = curl.edit(f"invert it, {new_prompt()}", *files)

    assert halves(answer.picture) == (0, 255)
    assert emulator.stats()["billed_calls"] == 1


def test_an_edit_as_json_from_a_pipe_works(
    curl: Curl, emulator: EmulatorServer, new_prompt: Prompt
) -> None:
    head = f'{{"model":"deepshi-image-1","prompt":"{new_prompt()}","width":32,"height":24'
    image = '"images":[{"image_url":"data:image/png;base64,'
    feed = f"(printf %s '{head},{image}'; base64 -w0 white.png; printf %s '\"}}]}}')"
    answer = curl("-H", "Content-Type: application/json", "--data-binary", "@-", feed=feed)

    assert answer.status == 200, answer.body
    assert opened(answer.picture).size == (32, 24)
    assert emulator.stats()["billed_calls"] == 1


def test_http_1_0_is_answered_in_one_piece_of_known_length(curl: Curl, new_prompt: Prompt) -> None:
    answer = curl.edit(new_prompt(), *WAYS["http 1.0"])

    assert "HTTP/1.0" in answer.sent
    assert "transfer-encoding" not in answer.headers
    assert int(answer.headers["content-length"]) > 1000


@pytest.mark.parametrize("http", ["--http1.1", "--http1.0"])
def test_a_stream_arrives_as_events(
    curl: Curl, emulator: EmulatorServer, new_prompt: Prompt, http: str
) -> None:
    fields = ("-F", "stream=true", "-F", "partial_images=1", "-F", "image[]=@photo.jpg")
    answer = curl.edit(new_prompt(), "-N", http, *fields)

    assert answer.headers["content-type"].startswith("text/event-stream")
    kinds = [event["type"] for event in answer.body]
    assert kinds == ["image_edit.partial_image", "image_edit.completed"]
    assert is_grey_photograph(answer.body[-1]["b64_json"])
    assert emulator.stats()["billed_calls"] == 1


def test_the_models_are_listed(curl: Curl) -> None:
    listed = curl(path="/models").body["data"]
    one = curl(path="/models/deepshi-image-1").body

    assert one == listed[0]
    assert one["edit"] == {"supported": True, "max_reference_images": 5}
