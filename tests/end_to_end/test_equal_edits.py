"""One edit in many spellings, over a socket: it is bought once, and sent upstream in one form."""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from gateway.emulator import EmulatorServer
from gateway.settings import Settings
from tests.support.bodies import (
    FormPart,
    data_url,
    document,
    form,
    form_type,
    png,
    text,
    usual,
)
from tests.support.hostile import EMPTY_SEGMENT, FRAME
from tests.support.serving import (
    KEY,
    PHOTOGRAPH,
    Running,
    make_key,
    serving,
    settings_for,
)
from tests.support.upstreams import Recording, recording_upstream

Body = tuple[str, bytes]
"""A content type, and what it describes."""


@pytest.fixture(scope="module")
def upstream() -> Iterator[Recording]:
    with recording_upstream() as recording:
        yield recording


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, emulator_server: EmulatorServer, upstream: Recording
) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("gateway")
    settings = settings_for(folder, emulator_server, {"upstream": {"base_url": upstream.url}})
    make_key(settings)
    with serving(settings) as running:
        yield running


def send(gateway: Running, body: Body) -> httpx.Response:
    with gateway.client() as client:
        headers = {"content-type": body[0]}
        return client.post("/v1/images/edits", content=body[1], headers=headers)


def written(*parts: FormPart, prompt: str = "", **fields: str) -> Callable[[str], Body]:
    """A form with these parts and fields besides those of a plain edit."""

    def body(unique: str) -> Body:
        return form_type(), form([*usual(prompt=unique + prompt, **fields), *parts])

    return body


def in_json(**members: object) -> Callable[[str], Body]:
    def body(unique: str) -> Body:
        prompt = f"{unique}{members.get('prompt', '')}"
        made = {"image": data_url(png()), **members, "prompt": prompt}
        return "application/json", document(model="deepshi-image-1", **made)

    return body


def prompted(charset: str, codec: str, prompt: str) -> Callable[[str], Body]:
    """A form whose prompt is in another charset."""

    def body(unique: str) -> Body:
        encoded = (unique + prompt).encode(codec)
        part = FormPart("prompt", encoded, None, f"text/plain; charset={charset}")
        return form_type(), form([part, *(p for p in usual() if p.name != "prompt")])

    return body


def after_a_preamble(unique: str) -> Body:
    return form_type(), b"This is a message in MIME.\r\n" + written()(unique)[1]


def named(*names: str) -> Callable[[str], Body]:
    """A form whose pictures have these names."""

    def body(unique: str) -> Body:
        texts = [part for part in usual(prompt=unique) if part.name != "image[]"]
        return form_type(), form([*texts, *(FormPart(n, png(), "a.png") for n in names)])

    return body


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
GIF = b"GIF89a\x08\x00\x08\x00" + bytes(60)
OCTETS = "application/octet-stream"
RAW = base64.b64encode(png()).decode()
LINES = written(prompt="one\ntwo\n", note="a\n\nb")
N = written(n="2")
NUMBERED = ("image[0]", "image[1]", "mask[]")

EQUAL = {
    "CRLF": (written(prompt="one\r\ntwo\r\n", note="a\r\n\r\nb"), LINES),
    "CR": (written(prompt="one\rtwo\r", note="a\r\rb"), LINES),
    "CRLF in JSON": (in_json(prompt="one\r\ntwo\r\n", note="a\r\n\r\nb"), LINES),
    "CRLF in UTF-16": (prompted("utf-16", "utf-16", "one\r\ntwo"), written(prompt="one\ntwo")),
    "n=1": (written(n="1"), written()),
    "n=1.0": (written(n="1.0"), written()),
    "n: 1": (in_json(n=1), written()),
    "n: null": (in_json(n=None), written()),
    "empty n": (written(n=""), written()),
    "empty fields": (written(size="", quality="", user="", stream=""), written()),
    "b64_json": (written(response_format="b64_json"), written()),
    "an empty file input": (written(FormPart("mask", b"", "", OCTETS)), written()),
    "n with a media type": (written(FormPart("n", b"2", None, OCTETS)), N),
    "n with an empty file name": (written(FormPart("n", b"2", "", OCTETS)), N),
    "ISO-8859-1": (prompted("ISO-8859-1", "latin-1", "grün"), written(prompt="grün")),
    "Shift_JIS": (prompted("Shift_JIS", "shift_jis", "灰色に"), written(prompt="灰色に")),
    "a preamble": (after_a_preamble, written()),
    "base64 in JSON": (in_json(image=RAW), written()),
    "base64 in a list": (in_json(image=[RAW]), written()),
    "numbered pictures": (named(*NUMBERED), named("image[]", "image[]", "mask")),
}


@pytest.mark.parametrize("name", EQUAL)
def test_equal_edits_are_bought_once(gateway: Running, upstream: Recording, name: str) -> None:
    odd, plain = (spelling(f"{name}: ") for spelling in EQUAL[name])
    calls = len(upstream.seen)
    answers = [send(gateway, odd), send(gateway, plain)]
    assert [a.headers.get("x-gateway-cache") for a in answers] == ["MISS", "HIT"], answers[0].text
    assert len(upstream.seen) == calls + 1
    sent = dict(upstream.seen[-1][1])
    assert sent["prompt"].startswith(f"{name}: ")
    assert not any("\r" in value or value == "" for value in sent.values())


def test_a_default_that_openai_documents_is_no_other_edit(
    tmp_path: Path, emulator: EmulatorServer, upstream: Recording
) -> None:
    """The proxy is the upstream: it is asked for whole URLs, of whatever host."""
    openai = {"base_url": "http://api.openai.com/v1", "proxy": upstream.url.removesuffix("/v1")}
    settings = settings_for(tmp_path, emulator, {"upstream": openai})
    make_key(settings)
    spoken = written(n="1", size="auto", quality="auto", output_format="png")
    bodies = [spoken("grey"), written()("grey"), written(quality="high")("grey")]
    with serving(settings) as gateway:
        words = [send(gateway, body).headers["x-gateway-cache"] for body in bodies]
    assert words == ["MISS", "HIT", "MISS"]
    assert upstream.seen[-1][0]["host"] == "api.openai.com"


def test_another_upstream_is_another_edit(tmp_path: Path, emulator: EmulatorServer) -> None:
    one, other = (
        settings_for(tmp_path, emulator, {"upstream": {"name": name}}) for name in ("one", "other")
    )
    make_key(one)
    with serving(one) as first, serving(other) as second:
        answers = [gateway.edit() for gateway in (first, second, first, second)]
    words = [answer.headers["x-gateway-cache"] for answer in answers]
    assert words == ["MISS", "MISS", "HIT", "HIT"]


def check_refused(
    gateway: Running, upstream: Recording, body: Body, code: str, param: str | None
) -> str:
    """The message of a refusal that sent nothing upstream."""
    calls = len(upstream.seen)
    answer = send(gateway, body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, code, param)
    assert len(upstream.seen) == calls
    return str(error["message"])


@pytest.mark.parametrize(
    "name", ["n[]", "N", "n ", "model[]", "Prompt", "size[0]", "output.format", "Image", "mask.x"]
)
@pytest.mark.parametrize("kind", ["form", "json"])
def test_a_name_that_may_be_read_as_a_known_one_is_refused(
    gateway: Running, upstream: Recording, kind: str, name: str
) -> None:
    more: dict[str, str] = {name: "2"}
    body = in_json(**more)("") if kind == "json" else written(text(name, "2"))("grey")
    assert "can be read as" in check_refused(gateway, upstream, body, "invalid_field", name)


@pytest.mark.parametrize("name", ["model", "prompt", "n", "size", "aspect_ratio"])
def test_a_known_text_with_a_file_name_was_sent_as_a_file(
    gateway: Running, upstream: Recording, name: str
) -> None:
    parts = [part for part in usual() if part.name != name]
    body = form_type(), form([*parts, FormPart(name, b"1", "blob", OCTETS)])
    message = check_refused(gateway, upstream, body, "invalid_field", name)
    assert "was sent as a file" in message


def test_a_missing_closing_delimiter_is_named(gateway: Running, upstream: Recording) -> None:
    whole = written()("grey")[1]
    body = form_type(), whole.removesuffix(b"--\r\n") + b"\r\n"
    assert "closing delimiter" in check_refused(gateway, upstream, body, "invalid_multipart", None)


@pytest.mark.parametrize("image", ["aGVsbG8gd29ybGQ=", "https://example.com/a.png", "file-123"])
def test_another_text_for_a_picture_is_told_what_is_expected(
    gateway: Running, upstream: Recording, image: str
) -> None:
    body = in_json(image=image)("grey")
    message = check_refused(gateway, upstream, body, "unsupported_image_source", "image")
    assert "data:image/png;base64," in message


def test_the_accepted_formats_are_those_of_the_setting(
    tmp_path: Path, emulator: EmulatorServer, gateway: Running, upstream: Recording
) -> None:
    gif = form_type(), form(usual(GIF))
    message = check_refused(gateway, upstream, gif, "invalid_image", "image[]")
    assert "Send PNG, JPEG or WEBP." in message
    formats = {"base_url": upstream.url, "picture_formats": ["gif"]}
    settings = settings_for(tmp_path, emulator, {"upstream": formats})
    make_key(settings)
    with serving(settings) as other:
        assert send(other, gif).status_code == 200
        assert upstream.seen[-1][2] == [("image[]", "image/gif", GIF)]
        body = written()("grey")
        assert "Send GIF." in check_refused(other, upstream, body, "invalid_image", "image[]")


@pytest.mark.parametrize("before", [EMPTY_SEGMENT * 2_000, EMPTY_SEGMENT + b"stray"])
def test_a_jpeg_that_decoders_read_is_sent_as_it_is(
    gateway: Running, upstream: Recording, before: bytes
) -> None:
    jpeg = b"\xff\xd8" + before + FRAME + bytes(100)
    assert send(gateway, (form_type(), form(usual(jpeg)))).status_code == 200
    assert upstream.seen[-1][2] == [("image[]", "image/jpeg", jpeg)]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_ends_its_side_behind_an_edit_gets_the_picture(
    settings: Settings, emulator: EmulatorServer, chunked: bool
) -> None:
    content_type, body = form_type(), form(usual(PHOTOGRAPH))
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    head = (
        f"POST /v1/images/edits HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        f"Content-Type: {content_type}\r\nConnection: close\r\n{framing}\r\n\r\n"
    )
    if chunked:
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    emulator.order({"latency_seconds": 0.2})
    with serving(settings) as gateway:
        host, port = gateway.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(head.encode() + body)
            connection.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    head_lines, _, picture = answer.removeprefix(CONTINUE).partition(b"\r\n\r\n")
    assert head_lines.startswith(b"HTTP/1.1 200 ")
    assert b"x-gateway-cache: MISS" in head_lines
    assert b'"b64_json"' in picture
