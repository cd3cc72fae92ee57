"""JSON above 1 KB is compressed for a client that asks; pictures, streams and secrets never."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator

import httpx
import pytest

from gateway.emulator import EmulatorServer
from tests.api.admin.api_client import ROOT_TOKEN, admin_settings, fresh
from tests.support.serving import KEY, Running, make_key, serving

ASKED = {"accept-encoding": "gzip"}
HOOK = "https://hooks.example.com/secret-0123456789"


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, emulator_server: EmulatorServer
) -> Iterator[Running]:
    settings = admin_settings(tmp_path_factory.mktemp("compression"), emulator_server)
    make_key(settings, key_terms={"tags": {f"tag{number}": "x" * 50 for number in range(20)}})
    with serving(settings) as running:
        yield running


def get(
    served: Running, path: str, accept: str = "gzip", token: str | None = None
) -> httpx.Response:
    with served.client(token) as client:
        return client.get(path, headers={"accept-encoding": accept})


def raw(served: Running, path: str, accept: str, token: str | None = None) -> bytes:
    headers = {"accept-encoding": accept}
    with served.client(token) as client, client.stream("GET", path, headers=headers) as answer:
        return b"".join(answer.iter_raw())


@pytest.mark.parametrize(
    ("path", "token"),
    [
        ("/openapi.json", None),
        ("/v1/key", KEY),
        ("/admin/v1/keys", ROOT_TOKEN),
    ],
)
def test_an_answer_is_the_same_compressed(served: Running, path: str, token: str | None) -> None:
    if path == "/admin/v1/keys":
        for _ in range(3):
            make_key(served.settings, name=fresh("key"), secret=f"sk-{fresh('secret')}")
    plain, small = raw(served, path, "identity", token), raw(served, path, "gzip", token)

    assert json.loads(gzip.decompress(small)).keys() == json.loads(plain).keys()
    assert len(small) < len(plain) / 2
    for accept, coding in (("gzip", "gzip"), ("identity", None)):
        headers = get(served, path, accept, token).headers
        assert (headers.get("content-encoding"), headers["vary"]) == (coding, "Accept-Encoding")


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("gzip, deflate, br", "gzip"),
        ("br;q=1.0, GZIP;q=0.5", "gzip"),
        ("deflate , gzip ; q=1", "gzip"),
        ("gzip;q=0", None),
        ("gzip;q=0.000, deflate", None),
        ("", None),
        ("br", None),
        ("*", None),
        ("gzipped, notgzip", None),
        ("gzip;q=x", None),
    ],
)
def test_accept_encoding_is_read_as_it_is_meant(
    served: Running, accept: str, coding: str | None
) -> None:
    assert get(served, "/openapi.json", accept).headers.get("content-encoding") == coding


def test_small_answers_pictures_streams_and_metrics_are_not_compressed(served: Running) -> None:
    answers = [
        get(served, "/healthz"),
        get(served, "/metrics"),
        served.edit("plain", headers=ASKED),
        served.edit("plain", headers=ASKED),
        served.edit("stream", headers=ASKED, stream="true"),
        served.edit("refused", headers=ASKED, images=6),
    ]
    assert [answer.status_code for answer in answers] == [200] * 5 + [400]
    assert not [answer for answer in answers if "content-encoding" in answer.headers]


def test_an_answer_with_a_secret_is_not_compressed(served: Running) -> None:
    """A new key or token, and a webhook's URL that an admin sees."""
    tags = {f"tag{number}": "x" * 100 for number in range(20)}
    team = fresh("team")
    with served.client(ROOT_TOKEN) as client:
        client.headers.update(ASKED)
        terms = {"unlimited": True, "webhook_url": HOOK}
        shown = [client.post("/admin/v1/teams", json={"name": team, **terms})]
        made = client.post("/admin/v1/keys", json={"team": team, "name": "k", "tags": tags})
        rotated = client.post(f"/admin/v1/keys/{made.json()['id']}/rotate", json={})
        for number in range(3):
            client.post("/admin/v1/teams", json={"name": f"{team}-{number}", **terms})
        shown += [client.get("/admin/v1/teams"), client.get(f"/admin/v1/teams/{team}")]
        token = client.post("/admin/v1/tokens", json={"name": team, "role": "finance"}).json()
        listed = client.get("/admin/v1/keys")

    assert all(HOOK in answer.text for answer in shown)
    assert len(made.content) > 1024
    assert "secret" in made.json()
    assert "secret" in rotated.json()
    for answer in (*shown, made, rotated):
        assert "content-encoding" not in answer.headers
    assert listed.headers["content-encoding"] == "gzip"
    masked = get(served, "/admin/v1/teams", token=token["secret"])
    assert HOOK not in masked.text
    assert masked.headers["content-encoding"] == "gzip"
