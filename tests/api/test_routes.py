"""What holds for every route: 401s, both forms of a key, trailing slashes, HEAD."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.api.routes import PUBLIC_ROUTES
from gateway.emulator import EmulatorServer
from tests.api.admin.api_client import ROOT_TOKEN, admin_settings
from tests.support.serving import KEY, Running, make_key, serving

FILLED = {"{model:path}": "deepshi-image-1", "{id}": f"req_{'0' * 32}"}
ROUTES = []
for _route, _row in PUBLIC_ROUTES.items():
    for _name, _value in FILLED.items():
        _route = _route.replace(_name, _value)
    ROUTES.append((*_route.split(), "key" in _row.security))
OF_A_KEY = [(method, path) for method, path, keyed in ROUTES if keyed]


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, emulator_server: EmulatorServer
) -> Iterator[Running]:
    emulator_server.reset()
    settings = admin_settings(tmp_path_factory.mktemp("routes"), emulator_server)
    make_key(settings)
    with serving(settings) as running, pytest.MonkeyPatch.context() as patched:
        # More wrong keys are sent below than one address may send in a minute.
        patched.setattr("gateway.accounts.rules.guess_throttle.MOST_FAILURES", 10_000)
        yield running


@pytest.mark.parametrize(("method", "path"), [*OF_A_KEY, ("GET", "/admin/v1/teams")])
@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": "Bearer wrong"}, {"authorization": "Basic eDp5"}, {"api-key": "wrong"}],
)
def test_every_401_names_the_scheme_that_is_wanted(
    served: Running, method: str, path: str, headers: dict[str, str]
) -> None:
    with served.client(None) as client:
        refused = client.request(method, path, headers=headers)

    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
    assert refused.headers.get_list("www-authenticate") == ["Bearer"]


@pytest.mark.parametrize(
    "headers",
    [
        {"api-key": KEY},
        {"Api-Key": KEY},
        {"api-key": KEY, "authorization": f"Bearer {KEY}"},
        {"api-key": KEY, "authorization": "Bearer"},
        {"api-key": KEY, "authorization": "Basic eDp5"},
    ],
)
def test_a_key_may_come_as_api_key(served: Running, headers: dict[str, str]) -> None:
    with served.client(None) as client:
        assert client.get("/v1/key", headers=headers).json()["object"] == "key"
    assert served.edit("by api-key", key=None, headers=headers).status_code == 200


@pytest.mark.parametrize("other", ["sk-another-key", KEY.upper()])
def test_two_different_keys_are_refused_by_name(served: Running, other: str) -> None:
    with served.client(KEY) as client:
        refused = client.get("/v1/key", headers={"api-key": other})

    error = refused.json()["error"]
    assert (refused.status_code, error["param"]) == (401, "api-key")
    assert "Authorization and api-key" in error["message"]
    assert other not in refused.text


def test_a_key_is_no_admin_token_in_either_form(served: Running) -> None:
    with served.client(None) as client:
        for name, value in (("api-key", KEY), ("api-key", ROOT_TOKEN)):
            assert client.get("/admin/v1/teams", headers={name: value}).status_code == 401


@pytest.mark.parametrize(("method", "path", "keyed"), [*ROUTES, ("GET", "/admin/v1/teams", False)])
def test_a_trailing_slash_is_the_same_path(
    served: Running, method: str, path: str, keyed: bool
) -> None:
    token = ROOT_TOKEN if path.startswith("/admin") else KEY if keyed else None
    with served.client(token) as client:
        plain, slash = client.request(method, path), client.request(method, f"{path}/")

    assert (slash.status_code, slash.is_redirect) == (plain.status_code, False)
    assert slash.headers["content-type"] == plain.headers["content-type"]
    if plain.status_code >= 400:
        assert slash.json() == plain.json()


def test_an_edit_with_a_trailing_slash_is_the_same_edit(served: Running) -> None:
    first = served.edit("with a slash")
    with served.client() as client:
        request = first.request
        again = client.post(
            "/v1/images/edits/",
            content=request.read(),
            headers={"content-type": request.headers["content-type"]},
        )
    assert again.headers["x-gateway-cache"] == "HIT"


@pytest.mark.parametrize("path", ["//", "/v1//key", "/v1/key//"])
def test_a_slash_too_many_is_another_path(served: Running, path: str) -> None:
    with served.client() as client:
        assert client.get(f"{served.url}{path}").status_code == 404


@pytest.mark.parametrize(
    ("path", "token"),
    [
        *((path, KEY if keyed else None) for method, path, keyed in ROUTES if method == "GET"),
        ("/admin/v1/teams", ROOT_TOKEN),
        ("/admin/v1/cache", ROOT_TOKEN),
    ],
)
def test_head_is_answered_where_get_is(served: Running, path: str, token: str | None) -> None:
    with served.client(token) as client:
        head, get = client.head(path), client.get(path)

    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    assert head.headers.keys() == get.headers.keys()


@pytest.mark.parametrize("path", [path for method, path, _ in ROUTES if method == "POST"])
def test_head_of_what_only_takes_post_is_refused(served: Running, path: str) -> None:
    with served.client() as client:
        refused = client.head(path)
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("path", "token", "allowed"),
    [
        ("/v1/key", KEY, {"GET", "HEAD"}),
        ("/v1/images/edits", KEY, {"POST"}),
        ("/admin/v1/teams", ROOT_TOKEN, {"GET", "HEAD", "POST"}),
        ("/admin/v1/pause", ROOT_TOKEN, {"POST"}),
    ],
)
def test_a_405_lists_the_methods_of_the_path(
    served: Running, path: str, token: str, allowed: set[str]
) -> None:
    with served.client(token) as client:
        refused = client.put(path)
    assert refused.status_code == 405
    assert set(refused.headers["allow"].split(", ")) == allowed
