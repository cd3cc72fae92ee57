"""Organisation, teams and keys over `/admin/v1`: made, changed, ended, and in the audit."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from gateway.accounts.rules import limits as accounts
from gateway.emulator import EmulatorServer
from tests.api.admin.api_client import Api, admin_settings, fresh, in_force
from tests.end_to_end.test_refusals import check_refused
from tests.support.serving import Running, serving

OF_TYPE = {
    "money": "5.123456789",
    "period": "week",
    "weekday": "thursday",
    "month_day": 15,
    "count": 8,
    "names": ["deepshi-image-1"],
    "flag": False,
}
LIMITS = {limit.name: OF_TYPE[limit.type.name] for limit in accounts.LIMITS}
OF_ORGANISATION = {
    limit.name: LIMITS[limit.name] for limit in accounts.LIMITS if "organisation" in limit.levels
}


def test_a_team_keeps_every_term_it_was_given(root: Api) -> None:
    terms = {
        **LIMITS,
        "owner": "Ada",
        "cost_centre": "4711",
        "webhook_url": "https://chat.example/hook",
        "warn_percents": [10, 90],
    }
    name = root.new_team(**terms)

    shown = root.get(f"/teams/{name}")
    assert {term: shown[term] for term in terms} == terms
    assert (shown["object"], shown["name"], shown["archived_at"]) == ("team", name, None)


def opens(served: Running, secret: str) -> bool:
    with served.client(secret) as client:
        return client.get("/v1/models").status_code == 200


def test_a_key_is_made_and_works_and_its_secret_is_shown_this_once(
    root: Api, served: Running
) -> None:
    key = root.new_key(root.new_team(), tags={"project": "atlas"}, **LIMITS)
    shown = root.get(f"/keys/{key['id']}")

    assert {term: shown[term] for term in LIMITS} == LIMITS
    assert shown["created_by"] == "root"
    assert shown["tags"] == {"project": "atlas"}
    assert "secret" not in shown
    in_force(lambda: opens(served, key["secret"]))
    assert key["secret"].startswith(shown["secret_hint"].partition("…")[0])


@pytest.mark.parametrize("written", ["0.1", '"0.1"', "1e-1", "0.10"])
def test_money_is_exact_however_it_is_written(root: Api, written: str) -> None:
    team = root.new_team()
    body = f'{{"budget_usd": {written}}}'.encode()
    answer = root.ask("PATCH", f"/teams/{team}", content=body)

    assert answer.json()["budget_usd"] == "0.10"
    assert isinstance(answer.json()["budget_usd"], str)


def test_a_fraction_that_no_float_holds_stays_what_it_is(root: Api) -> None:
    team = root.new_team()
    exact = "100000.000000001"
    root.ask("PATCH", f"/teams/{team}", content=f'{{"budget_usd": {exact}}}'.encode())

    assert Decimal(root.get(f"/teams/{team}")["budget_usd"]) == Decimal(exact)


def test_null_takes_a_limit_away_and_what_is_not_named_stays(root: Api) -> None:
    team = root.new_team(**LIMITS)
    changed = root.patch(f"/teams/{team}", requests_per_minute=None, owner="Ada")

    assert changed["requests_per_minute"] is None
    assert changed["owner"] == "Ada"
    assert changed["max_in_flight"] == 8


def test_the_organisation_is_shown_and_changed(tmp_path: Path, emulator: EmulatorServer) -> None:
    with serving(admin_settings(tmp_path, emulator)) as gateway:
        root = Api(gateway)
        changed = root.patch("/organisation", **OF_ORGANISATION, reason="a new quarter")
        shown = root.get("/organisation")

    assert changed == shown
    assert {term: shown[term] for term in OF_ORGANISATION} == OF_ORGANISATION
    assert shown["object"] == "organisation"


def test_a_new_team_gets_the_defaults_of_the_settings(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    defaults = {"new_team": {"budget_usd": 7, "requests_per_minute": 30}}
    with serving(admin_settings(tmp_path, emulator, defaults)) as gateway:
        root = Api(gateway)
        made = root.post("/teams", name="plain")
        told = root.post("/teams", name="told", budget_usd="9")

    assert (made["budget_usd"], made["requests_per_minute"]) == ("7.00", 30)
    assert (told["budget_usd"], told["requests_per_minute"]) == ("9.00", 30)


def test_a_team_that_nothing_bounds_is_refused(tmp_path: Path, emulator: EmulatorServer) -> None:
    with serving(admin_settings(tmp_path, emulator)) as gateway:
        answer = Api(gateway).ask("POST", "/teams", json={"name": "endless"})

    error = check_refused(answer, 400, "invalid_field", param="budget_usd")
    assert "unlimited" in error["message"]


def test_what_is_there_already_is_a_conflict(root: Api) -> None:
    team = root.new_team()
    key = root.new_key(team)
    root.post("/tokens", name="twice", role="admin")
    again = {"name": team, "unlimited": True}

    check_refused(root.ask("POST", "/teams", json=again), 409, "conflict")
    check_refused(
        root.ask("POST", "/keys", json={"team": team, "name": key["name"]}), 409, "conflict"
    )
    answer = root.ask("POST", "/tokens", json={"name": "twice", "role": "admin"})
    check_refused(answer, 409, "conflict")
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("method", "path", "document"),
    [
        ("GET", "/teams/nobody", None),
        ("PATCH", "/teams/nobody", {"budget_usd": 1}),
        ("DELETE", "/teams/nobody", None),
        ("GET", "/keys/key_none", None),
        ("POST", "/keys/key_none/rotate", {}),
        ("POST", "/keys", {"team": "nobody", "name": "a"}),
        ("GET", "/keys?team=nobody", None),
        ("GET", "/usage?team=nobody", None),
        ("GET", "/ledger?team=nobody", None),
        ("DELETE", "/tokens/tok_none", None),
        ("POST", "/tokens", {"name": "a", "role": "team:nobody"}),
        ("POST", "/pause", {"team": "nobody"}),
        ("GET", "/teams/%00", None),
        ("GET", "/keys/%F0%9F", None),
    ],
)
def test_what_is_not_there_is_a_404(root: Api, method: str, path: str, document: object) -> None:
    check_refused(root.ask(method, path, json=document), 404, "not_found")


def test_an_end_is_for_good_and_twice_is_once(root: Api) -> None:
    team = root.new_team()
    key = root.new_key(team)
    ended = root.delete(f"/keys/{key['id']}")
    assert root.delete(f"/keys/{key['id']}") == ended
    assert ended["revoked_at"]
    check_refused(
        root.ask("PATCH", f"/keys/{key['id']}", json={"max_in_flight": 1}), 409, "conflict"
    )

    archived = root.delete(f"/teams/{team}")
    assert root.delete(f"/teams/{team}") == archived
    check_refused(root.ask("POST", "/keys", json={"team": team, "name": "late"}), 409, "conflict")


def test_listings_go_page_by_page(root: Api) -> None:
    team = root.new_team()
    made = {root.new_key(team)["id"] for _ in range(5)}
    first = root.get("/keys", team=team, limit=2)

    assert (first["object"], len(first["data"]), first["has_more"]) == ("list", 2, True)
    assert {key["id"] for key in root.every("/keys", team=team, limit=2)} == made
    assert root.get("/keys", team=team, limit=5)["next"] is None
    teams = [each["name"] for each in root.every("/teams", limit=1)]
    assert team in teams
    assert len(teams) == len(set(teams))
    tokens = [root.post("/tokens", name=fresh("token"), role="admin")["id"] for _ in range(3)]
    assert set(tokens) <= {token["id"] for token in root.every("/tokens", limit=2)}


def test_what_has_ended_is_listed_where_it_is_asked_for(root: Api) -> None:
    team = root.new_team()
    key = root.new_key(team)["id"]
    token = root.post("/tokens", name=fresh("token"), role="admin")["id"]
    root.delete(f"/keys/{key}")
    root.delete(f"/tokens/{token}")

    assert root.get("/keys", team=team)["data"] == []
    assert [each["id"] for each in root.every("/keys", team=team, revoked="true")] == [key]
    assert token not in {each["id"] for each in root.every("/tokens")}
    assert token in {each["id"] for each in root.every("/tokens", revoked="true")}
    root.delete(f"/teams/{team}")
    assert team not in {each["name"] for each in root.every("/teams")}
    assert team in {each["name"] for each in root.every("/teams", archived="true")}


def test_an_old_secret_lives_on_for_its_grace_and_no_longer(root: Api, served: Running) -> None:
    key = root.new_key(root.new_team())
    second = root.post(f"/keys/{key['id']}/rotate", grace="1h")
    third = root.post(f"/keys/{key['id']}/rotate", grace=0)

    assert second["old_secret_valid_until"] is not None
    in_force(lambda: opens(served, third["secret"]))
    assert opens(served, key["secret"])
    assert not opens(served, second["secret"])


def test_a_grace_that_can_not_be_is_refused(root: Api) -> None:
    key = root.new_key(root.new_team())
    for wrong in (-1, True, "soon", "500d", [1], None, "nan"):
        answer = root.ask("POST", f"/keys/{key['id']}/rotate", json={"grace": wrong})
        check_refused(answer, 400, "invalid_field", param="grace")


@pytest.mark.parametrize(
    "wider",
    [
        {"budget_usd": "5.01"},
        {"budget_usd": "6", "budget_period": "day"},
        {"paid_images_per_day": 9},
        {"requests_per_minute": 9},
        {"max_in_flight": 9},
        {"max_reference_images": 9},
        {"models": ["deepshi-image-1", "deepshi-solo-1"]},
        {"may_bypass_cache": True},
    ],
)
def test_a_token_of_a_team_keeps_its_keys_within_the_teams_limits(
    root: Api, wider: dict[str, object]
) -> None:
    team = root.new_team(**{**LIMITS, "budget_usd": "5", "budget_period": "month"})
    holder = root.holder(f"team:{team}")
    param = next(iter(wider))

    made = holder.post("/keys", name="within", max_in_flight=8)
    check_refused(
        holder.ask("POST", "/keys", json={"name": "wide", **wider}),
        403, "permission_denied", param=param,
    )  # fmt: skip
    answer = holder.ask("PATCH", f"/keys/{made['id']}", json=wider)
    check_refused(answer, 403, "permission_denied", param=param)
    assert root.patch(f"/keys/{made['id']}", **wider)  # an admin may


def test_a_token_of_a_team_may_change_a_key_whose_limit_an_admin_set_above(root: Api) -> None:
    team = root.new_team(requests_per_minute=60, unlimited=True)
    key = root.new_key(team, requests_per_minute=100)
    changed = root.holder(f"team:{team}").patch(f"/keys/{key['id']}", tags={"a": "b"})

    assert (changed["tags"], changed["requests_per_minute"]) == ({"a": "b"}, 100)


def test_a_pause_of_a_team_is_shown_and_ends(root: Api) -> None:
    team = root.new_team()
    assert root.post("/pause", team=team, reason="too fast")["paused"] is True
    assert root.get(f"/teams/{team}")["paused"] is True
    assert root.post("/resume", team=team)["paused"] is False


def test_every_change_is_in_the_audit_with_who_old_new_and_why(root: Api) -> None:
    team = root.new_team(budget_usd="5")
    admin = root.holder("admin")
    admin.patch(f"/teams/{team}", budget_usd="7", reason="a new quarter")
    admin.delete(f"/teams/{team}", reason="it is over")

    created, changed, ended = root.get("/audit", subject=f"team:{team}")["data"]
    assert (created["actor"], created["action"]) == ("root", "team.create")
    assert changed["actor"].startswith("token:token-")
    assert (changed["old"], changed["new"]) == ({"budget_usd": "5.00"}, {"budget_usd": "7.00"})
    assert changed["reason"] == "a new quarter"
    assert (ended["action"], ended["reason"]) == ("team.archive", "it is over")


def test_the_audit_is_read_since_a_time_and_page_by_page(root: Api) -> None:
    team = root.new_team()
    for number in range(3):
        root.patch(f"/teams/{team}", max_in_flight=number)
    found = root.every("/audit", subject=f"team:{team}", limit=1)

    assert [row["new"].get("max_in_flight") for row in found] == [None, 0, 1, 2]
    since = found[2]["at"]
    later = root.every("/audit", subject=f"team:{team}", since=since)
    assert [row["id"] for row in later] == [row["id"] for row in found if row["at"] >= since]
    assert root.get("/audit", since="2999-01-01")["data"] == []


def test_a_change_that_changes_nothing_leaves_no_trace(root: Api) -> None:
    team = root.new_team(budget_usd="5")
    root.patch(f"/teams/{team}", budget_usd="5")
    root.patch(f"/teams/{team}")

    assert len(root.get("/audit", subject=f"team:{team}")["data"]) == 1


@pytest.mark.parametrize("name", ["a\x9bb", "a\u202eb", "a\u2067b"])
def test_a_name_that_prints_as_another_is_refused(root: Api, name: str) -> None:
    key = {"team": root.new_team(), "name": name}

    check_refused(root.ask("POST", "/keys", json=key), 400, "invalid_field", param="name")
    token = {"name": name, "role": "finance"}
    check_refused(root.ask("POST", "/tokens", json=token), 400, "invalid_field", param="name")


def test_a_webhooks_address_is_whole_for_an_admin_alone(root: Api) -> None:
    address = "https://chat.example/hook/sesame"
    team = root.new_team(unlimited=True, webhook_url=address)
    root.patch("/organisation", webhook_url=address)
    admin, finance = root.holder("admin"), root.holder("finance")
    places = (f"/teams/{team}", "/organisation")

    for api in (root, admin):
        assert [api.get(place)["webhook_url"] for place in places] == [address] * 2
    shown = [finance.get(place) for place in places]
    shown.append(root.holder(f"team:{team}").get(f"/teams/{team}"))
    assert [each["webhook_url"] for each in shown] == ["https://chat.example/…"] * 3
    listed = next(each for each in finance.every("/teams") if each["name"] == team)
    assert listed["webhook_url"] == "https://chat.example/…"
    root.patch("/organisation", webhook_url="")
    assert finance.get("/organisation")["webhook_url"] == ""


def test_a_webhooks_address_is_in_no_audit(root: Api) -> None:
    root.new_team(unlimited=True, webhook_url="https://chat.example/hook/sesame")

    assert "sesame" not in json.dumps(root.every("/audit"))
