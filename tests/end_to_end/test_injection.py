"""Nothing that a client sends ends up as framing, header or field of its own at the upstream."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.emulator import EmulatorServer
from tests.support.bodies import BOUNDARY, FormPart, file, form, form_type, text
from tests.support.serving import Running, make_key, serving, settings_for
from tests.support.upstreams import Recording, png, recording_upstream

PICTURE = png(4, 4)
EVIL = 'form-data; name="n"\r\n\r\n9'


@pytest.fixture(scope="module")
def listening() -> Iterator[Recording]:
    with recording_upstream() as recording:
        yield recording


@pytest.fixture
def upstream(listening: Recording) -> Recording:
    """An upstream that nothing has reached yet."""
    listening.seen.clear()
    return listening


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, emulator_server: EmulatorServer, listening: Recording
) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("injection")
    settings = settings_for(folder, emulator_server, {"upstream": {"base_url": listening.url}})
    make_key(settings)
    with serving(settings) as running:
        yield running


def status_of(gateway: Running, body: bytes, **headers: str) -> int:
    """Each is asked for anew, so that whatever is bought is seen at the upstream."""
    given = {"content-type": form_type(), "x-gateway-cache-control": "no-store"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    with gateway.client() as client:
        answer = client.post("/v1/images/edits", content=body, headers=given)
    assert answer.status_code in (200, 400), answer.text
    return answer.status_code


def edit(*parts: FormPart, prompt: str = "make it grey") -> bytes:
    return form([text("model", "deepshi-image-1"), text("prompt", prompt), *parts])


NAMES: dict[str, bytes] = {
    "a quotation mark": b'a"; name="n',
    "an escaped quotation mark": b'a\\"; name=\\"n',
    "a new part": b'a"\r\n\r\nx\r\n--' + BOUNDARY.encode() + b"\r\nContent-Disposition: "
    b'form-data; name="quality"\r\n\r\nhigh',
    "a header": b'a"\r\nX-Evil: 1\r\nX-Rest: "',
    "a bare LF": b"a\nX-Evil: 1",
    "a bare CR": b"a\rX-Evil: 1",
    "a NUL": b"a\x00.png",
    "no UTF-8": b"\xff\xfe.png",
    "a path": b"../../../etc/passwd",
    "another system's path": b"C:\\temp\\a.png",
    "the extended form": b"a\"; filename*=UTF-8''%0d%0aX-Evil%3a%201; x=\"",
    "four thousand characters": b"a" * 4_000,
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_file_s_name_is_never_passed_on(
    gateway: Running, upstream: Recording, name: bytes
) -> None:
    plain = edit(file("image[]", PICTURE, file_name="NAME"))
    status = status_of(gateway, plain.replace(b"NAME", name))

    if status == 400:
        assert upstream.seen == []
        return
    ((headers, fields, files),) = upstream.seen
    assert {name for name, _ in fields} <= {"model", "prompt", "quality"}
    assert "x-evil" not in headers
    assert [(name, kind) for name, kind, _ in files if name == "image[]"] in (
        [("image[]", "image/png")], [],
    )  # fmt: skip
    assert all(content in (PICTURE, b"x") for _, _, content in files)


VALUES = {
    "CR LF": "a\r\nX-Evil: 1",
    "a part": f"a\r\n--{BOUNDARY}x\r\nContent-Disposition: {EVIL}",
    "an end": f"a\r\n--{BOUNDARY}y--\r\n",
    "quotation marks": '"; name="n"',
    "a NUL": "a\x00b",
    "what is no letter": "\u202e\ufeff\u2028",
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_a_field_s_value_arrives_as_it_is_and_as_nothing_else(
    gateway: Running, upstream: Recording, value: str
) -> None:
    body = edit(file("image[]", PICTURE), text("style", value), prompt=value)
    assert status_of(gateway, body) == 200

    ((headers, fields, files),) = upstream.seen
    sent = value.replace("\r\n", "\n")  # line ends are LF upstream
    assert sorted(fields) == [("model", "deepshi-image-1"), ("prompt", sent), ("style", sent)]
    assert [content for _, _, content in files] == [PICTURE]
    assert "x-evil" not in headers


@pytest.mark.parametrize(
    "name", [b'a"; x="', b"a\\", b"a\r\nX-Evil: 1", b"a\nb", b"a\x00", b"\xff", b"", b"n" * 300]
)
def test_a_field_s_name_that_could_be_framing_is_refused(
    gateway: Running, upstream: Recording, name: bytes
) -> None:
    body = edit(file("image[]", PICTURE), text("NAME", "1")).replace(b'"NAME"', b'"' + name + b'"')
    status = status_of(gateway, body)

    if status == 200:  # it was no name, but two headers of which one says nothing
        ((headers, fields, _),) = upstream.seen
        assert {field for field, _ in fields} <= {"model", "prompt", "a"}
        assert "x-evil" not in headers
    else:
        assert upstream.seen == []


def test_headers_of_a_client_do_not_reach_the_upstream(
    gateway: Running, upstream: Recording
) -> None:
    sent = {
        "x_evil": "1", "openai_organization": "org-1", "x_gateway_variant": "v", "cookie": "a=b",
        "x_forwarded_for": "1.2.3.4", "x_request_id": "req_mine", "te": "trailers",
    }  # fmt: skip
    assert status_of(gateway, edit(file("image[]", PICTURE)), **sent) == 200

    ((headers, _, _),) = upstream.seen
    assert not {name.replace("_", "-") for name in sent} & headers.keys()
    assert (
        headers["authorization"]
        == f"Bearer {gateway.settings.upstream.api_key[0].get_secret_value()}"
    )
