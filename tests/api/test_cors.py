"""CORS: what a browser asks and reads, over a socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.api.openapi.refusals import HEADERS
from gateway.emulator import EmulatorServer
from gateway.settings import SettingsError, load
from tests.api.admin.api_client import admin_settings
from tests.support.serving import KEY, Overrides, Running, make_key, serving, settings_for

PAGE = "https://app.example.com"
APP = "capacitor://localhost"
ELSEWHERE = "https://evil.example.com"
PATHS = (
    "/v1/images/edits", "/v1/images/generations", "/v1/models", "/v1/models/deepshi-image-1",
    "/v1/key", "/v1/requests/req_1",
)  # fmt: skip


def asks(origin: str, method: str = "POST") -> dict[str, str]:
    """The headers of a preflight."""
    return {
        "origin": origin,
        "access-control-request-method": method,
        "access-control-request-headers": "authorization,content-type,x-stainless-lang",
    }


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, emulator_server: EmulatorServer
) -> Iterator[Running]:
    more: Overrides = {"server": {"cors_origins": [PAGE, APP]}}
    settings = admin_settings(tmp_path_factory.mktemp("cors"), emulator_server, more)
    make_key(settings)
    with serving(settings) as running:
        yield running


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("origin", [PAGE, APP])
def test_a_preflight_from_a_listed_origin_is_permitted(
    served: Running, path: str, origin: str
) -> None:
    with served.client(None) as client:
        answer = client.options(path, headers=asks(origin))

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["access-control-allow-origin"] == origin
    assert {"GET", "POST"} <= set(answer.headers["access-control-allow-methods"].split(", "))
    allowed = answer.headers["access-control-allow-headers"].split(",")
    assert {"authorization", "content-type", "x-stainless-lang"} <= set(allowed)
    assert answer.headers["vary"] == "Origin"
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin", [ELSEWHERE, "null", f"{PAGE}.evil.com", PAGE.upper(), f"{PAGE}/"]
)
def test_a_preflight_from_elsewhere_is_refused_and_says_where_to_permit_it(
    served: Running, origin: str
) -> None:
    with served.client(None) as client:
        refused = client.options("/v1/images/edits", headers=asks(origin))

    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "permission_denied")
    assert "[server] cors_origins" in refused.json()["error"]["message"]
    assert "access-control-allow-origin" not in refused.headers


def test_a_page_reads_every_header_of_an_edit_a_stream_and_a_refusal(served: Running) -> None:
    origin = {"origin": PAGE}
    answers = [
        served.edit("from a page", headers=origin),
        served.edit("from a page", headers=origin),
        served.edit("from a page, in a stream", headers=origin, stream="true"),
        served.edit("from a page", headers=origin, key="sk-wrong"),
        served.edit("from a page", headers=origin, images=6),
    ]
    with served.client() as client:
        answers += [
            client.get("/v1/key", headers=origin),
            client.get("/v1/nothing", headers=origin),
            client.delete("/v1/key", headers=origin),
        ]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 401, 400, 200, 404, 405]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == PAGE
        exposed = answer.headers["access-control-expose-headers"].split(", ")
        assert set(exposed) == HEADERS.keys()
        assert "Origin" in answer.headers["vary"]


def test_what_comes_from_elsewhere_is_served_but_not_shown_to_the_page(served: Running) -> None:
    with served.client() as client:
        for headers in ({"origin": ELSEWHERE}, {}):
            answer = client.get("/v1/key", headers=headers)
            assert answer.status_code == 200
            assert "access-control-allow-origin" not in answer.headers
            assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize("path", ["/admin/v1/teams", "/metrics", "/healthz", "/v1"])
def test_only_v1_is_for_pages(served: Running, path: str) -> None:
    with served.client(None) as client:
        preflight = client.options(path, headers=asks(PAGE))
        answer = client.get(path, headers={"origin": PAGE})

    assert preflight.status_code >= 400
    assert not [name for name in [*preflight.headers, *answer.headers] if "access-control" in name]


def test_options_that_is_no_preflight_is_refused_as_any_other_method(served: Running) -> None:
    with served.client() as client:
        assert client.options("/v1/key").status_code == 405
        assert client.options("/v1/key", headers={"origin": PAGE}).status_code == 405


def test_a_wildcard_serves_every_page_without_credentials(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    settings = settings_for(tmp_path, emulator, {"server": {"cors_origins": ["*"]}})
    make_key(settings)
    with serving(settings) as gateway, gateway.client() as client:
        preflight = client.options("/v1/key", headers=asks(ELSEWHERE, "GET"))
        answer = client.get("/v1/key", headers={"origin": ELSEWHERE})

    for each in (preflight, answer):
        assert each.status_code == 200
        assert each.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in each.headers


def test_it_is_off_by_default(gateway: Running) -> None:
    with gateway.client() as client:
        preflight = client.options("/v1/key", headers=asks(PAGE))
        answer = client.get("/v1/key", headers={"origin": PAGE})

    assert preflight.status_code == 405
    assert not [name for name in [*preflight.headers, *answer.headers] if "access-control" in name]
    assert KEY not in preflight.text


@pytest.mark.parametrize(
    "origin",
    ["app.example.com", f"{PAGE}/", f"{PAGE}/path", "https://*.example.com", "HTTPS://x.com", ""],
)
def test_what_is_no_origin_is_a_fault_of_the_settings(origin: str) -> None:
    with pytest.raises(SettingsError, match=r"cors_origins.*is not an origin"):
        load(environment={}, overrides={"server": {"cors_origins": [origin]}})
