"""Every route of `/admin/v1` against every role, on a gateway that really serves."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from gateway.api.admin.routes import PATHS, ROUTES
from gateway.emulator import EmulatorServer
from tests.api.admin.api_client import ROOT_TOKEN, Api, fresh
from tests.end_to_end.test_refusals import check_refused
from tests.support.serving import GatewayProcess, Overrides, Served, tables_of

_addresses = (f"198.51.{high}.{low}" for high, low in itertools.product(range(256), repeat=2))

Fill = Callable[[Api, str], dict[str, Any]]
"""(root, the team that is asked about) → the path's names, and the JSON document."""


def _team(root: Api, team: str) -> dict[str, Any]:
    return {"name": team}


def _key(root: Api, team: str) -> dict[str, Any]:
    return {"id": root.new_key(team)["id"]}


def _new_key(root: Api, team: str) -> dict[str, Any]:
    return {"json": {"team": team, "name": fresh("key")}}


def _of_team(root: Api, team: str) -> dict[str, Any]:
    return {"params": {"team": team}}


def _user(root: Api, team: str) -> dict[str, Any]:
    return {"json": {"user": "nobody", "team": team}}


def _token(root: Api, team: str) -> dict[str, Any]:
    return {"id": root.post("/tokens", name=fresh("token"), role="finance")["id"]}


def _request(root: Api, team: str) -> dict[str, Any]:
    key = root.new_key(team, budget_usd="1")
    return {"json": {"budget": f"{team}/{key['name']}", "usd": "1", "reason": "a campaign"}}


def _json(**document: object) -> Fill:
    return lambda root, team: {"json": document}


def _nothing(root: Api, team: str) -> dict[str, Any]:
    return {}


# What each role gets: the status for admin (and root), finance, the team that is asked about,
# and another team. A route that is missing here fails the test below.
EXPECTED: Mapping[str, tuple[int, int, int, int, Fill]] = {
    "GET /organisation": (200, 200, 403, 403, _nothing),
    "PATCH /organisation": (200, 403, 403, 403, _json(max_in_flight=1000)),
    "GET /teams": (200, 200, 403, 403, _nothing),
    "POST /teams": (201, 403, 403, 403, lambda root, _: {
        "json": {"name": fresh("team"), "unlimited": True}}),
    "GET /teams/{name}": (200, 200, 200, 403, _team),
    "PATCH /teams/{name}": (200, 403, 403, 403, _team),
    "DELETE /teams/{name}": (200, 403, 403, 403, lambda root, _: {"name": root.new_team()}),
    "GET /keys": (200, 200, 200, 403, _of_team),
    "POST /keys": (201, 403, 201, 403, _new_key),
    "GET /keys/{id}": (200, 200, 200, 403, _key),
    "PATCH /keys/{id}": (200, 403, 200, 403, _key),
    "DELETE /keys/{id}": (200, 403, 200, 403, _key),
    "POST /keys/{id}/rotate": (200, 403, 200, 403, _key),
    "GET /tokens": (200, 200, 403, 403, _nothing),
    "POST /tokens": (201, 403, 403, 403, lambda root, _: {
        "json": {"name": fresh("token"), "role": "admin"}}),
    "DELETE /tokens/{id}": (200, 403, 403, 403, _token),
    "GET /budgets": (200, 200, 200, 403, _of_team),
    "GET /budgets/grants": (200, 200, 200, 403, _of_team),
    "POST /budgets/grants": (201, 201, 403, 403, lambda root, _: {
        "json": {"budget": root.new_team(budget_usd="1"), "usd": "1"}}),
    "POST /budgets/requests": (201, 403, 201, 403, _request),
    "DELETE /budgets/grants/{id}": (200, 200, 403, 403, lambda root, _: {
        "id": root.post("/budgets/grants", budget=root.new_team(budget_usd="1"), usd="1")["id"]}),
    "POST /pause": (200, 403, 403, 403, lambda root, team: {"json": {"team": team}}),
    "POST /resume": (200, 403, 403, 403, lambda root, team: {"json": {"team": team}}),
    "GET /audit": (200, 200, 403, 403, _nothing),
    "GET /usage": (200, 200, 200, 403, _of_team),
    "GET /requests": (200, 200, 200, 403, _of_team),
    # There is no such request: who may ask is told so.
    "GET /requests/{id}": (404, 404, 404, 404, lambda root, team: {"id": "req_none"}),
    "GET /ledger": (200, 200, 200, 403, _of_team),
    "GET /ledger/verify": (200, 200, 403, 403, _nothing),
    "GET /ledger/unresolved": (200, 200, 403, 403, _nothing),
    "GET /ledger/closings": (200, 200, 403, 403, _nothing),
    "POST /ledger/resolve": (200, 403, 403, 403, _nothing),
    # There is no such request: whoever may correct is told so.
    "POST /ledger/corrections": (404, 404, 403, 403,
                                 _json(request_id="req_none", cost_usd="0.01")),
    "GET /ledger/export": (200, 200, 403, 403, _nothing),
    "POST /ledger/reconcile": (200, 200, 403, 403, lambda root, _: {
        "content": b"request_id,time,cost_usd\nup-a,2026-11-01,0.01\n"}),
    # A month that is not over, and a batch that is none: whoever may is told so.
    "POST /ledger/closings": (409, 409, 403, 403, _json(period="2099-01")),
    "GET /ledger/batches": (200, 200, 403, 403, _nothing),
    "POST /ledger/batches/{id}/undo": (404, 404, 403, 403, lambda root, _: {
        "id": "bat_0", "json": {}}),
    "GET /prices": (200, 200, 403, 403, _nothing),
    "POST /prices/confirm": (200, 403, 403, 403,
                             _json(model="deepshi-image-1", price_usd="0.01")),
    "GET /cache": (200, 200, 200, 403, _of_team),
    "POST /cache/purge": (200, 403, 200, 403, lambda root, team: {"json": {"team": team}}),
    "POST /cache/verify": (200, 403, 403, 403, _nothing),
    "POST /users/show": (200, 200, 200, 403, _user),
    "POST /users/forget": (200, 403, 200, 403, _user),
}  # fmt: skip


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, emulator_server: EmulatorServer
) -> Iterator[Served]:
    """Behind a proxy: with more wrong tokens than one address may send in a minute."""
    folder = tmp_path_factory.mktemp("access")
    more: Overrides = {
        "admin": {"token": ROOT_TOKEN},
        "server": {"port": 0, "trusted_proxies": ["127.0.0.1"]},
    }
    with GatewayProcess(tables_of(folder, emulator_server, more), folder) as process:
        yield process


@pytest.fixture
def root(served: Served) -> Api:
    return Api(served)


@pytest.fixture(scope="module")
def holders(served: Served) -> Mapping[str, Api]:
    """Every sort of asker. The teams are `own`, which is asked about, and `other`."""
    root = Api(served)
    for team in ("own", "other"):
        root.post("/teams", name=team, unlimited=True)
    revoked = root.post("/tokens", name="revoked", role="admin")
    root.delete(f"/tokens/{revoked['id']}")
    return {
        "root": root,
        "admin": root.holder("admin"),
        "finance": root.holder("finance"),
        "team": root.holder("team:own"),
        "other team": root.holder("team:other"),
        "revoked": Api(served, revoked["secret"]),
        "an API key": Api(served, root.new_key("own")["secret"]),
        "nobody": Api(served, None),
    }


def test_every_route_has_a_row_in_this_test() -> None:
    assert set(ROUTES) == set(EXPECTED)
    assert {(method, path) for path, methods in PATHS.items() for method in methods} == {
        tuple(route.split()) for route in ROUTES
    }


@pytest.mark.parametrize("route", sorted(ROUTES))
def test_a_route_answers_every_role_as_the_table_says(
    holders: Mapping[str, Api], route: str
) -> None:
    admin, finance, team, other, fill = EXPECTED[route]
    expected = {
        "root": admin, "admin": admin, "finance": finance, "team": team, "other team": other,
        "revoked": 401, "an API key": 401, "nobody": 401,
    }  # fmt: skip

    statuses = {}
    for role, api in holders.items():
        method, path = route.split()
        asked = fill(holders["root"], "own")
        names = {name: asked.pop(name) for name in ("name", "id") if name in asked}
        came_from = {"x-forwarded-for": next(_addresses)}
        answer = api.ask(method, path.format(**names), headers=came_from, **asked)
        statuses[role] = answer.status_code
        if answer.status_code in (401, 403):
            code = {401: "invalid_api_key", 403: "permission_denied"}[answer.status_code]
            check_refused(answer, answer.status_code, code)

    assert statuses == expected


def test_a_token_of_a_team_sees_its_own_keys_where_it_names_no_team(
    holders: Mapping[str, Api],
) -> None:
    holders["root"].new_key("other")
    made = holders["team"].post("/keys", name=fresh("key"))

    found = holders["team"].every("/keys", limit=2)
    assert made["team"] == "own"
    assert {key["team"] for key in found} == {"own"}
    assert made["id"] in {key["id"] for key in found}


def test_a_token_of_a_team_can_not_tell_another_teams_key_from_none(
    holders: Mapping[str, Api],
) -> None:
    theirs = holders["root"].new_key("other")["id"]
    answers = [holders["team"].ask("GET", f"/keys/{each}") for each in (theirs, "key_none")]

    assert [answer.status_code for answer in answers] == [403, 403]
    assert answers[0].json() == answers[1].json()


def test_a_token_of_a_team_can_not_tell_another_team_from_none(
    holders: Mapping[str, Api],
) -> None:
    for path in ("/teams/{}", "/usage?team={}", "/ledger?team={}", "/keys?team={}"):
        asked = [holders["team"].ask("GET", path.format(team)) for team in ("other", "nobody")]
        assert [answer.status_code for answer in asked] == [403, 403], path
        assert asked[0].json() == asked[1].json()


def test_a_token_ends_with_its_team(root: Api) -> None:
    team = root.new_team()
    holder = root.holder(f"team:{team}")
    assert holder.ask("GET", f"/teams/{team}").status_code == 200

    root.delete(f"/teams/{team}")
    check_refused(holder.ask("GET", f"/teams/{team}"), 401, "invalid_api_key")


def test_what_is_refused_by_role_changes_nothing(holders: Mapping[str, Api]) -> None:
    before = holders["root"].get("/teams/own")
    holders["finance"].ask("PATCH", "/teams/own", json={"budget_usd": "1"})
    holders["finance"].ask("DELETE", "/teams/own")
    holders["other team"].ask("PATCH", "/teams/own", json={"budget_usd": "1"})

    assert holders["root"].get("/teams/own") == before


def test_a_listing_is_paged_or_complete_and_says_whether_there_is_more() -> None:
    """The usage report alone has no pages: it is complete."""
    for route, row in ROUTES.items():
        fields = getattr(row.answer, "model_fields", {})
        if "data" in fields:
            assert {"has_more", "next"} <= fields.keys(), route
            paged = {"limit", "after"} <= row.query.model_fields.keys()
            assert paged or route == "GET /usage", route
