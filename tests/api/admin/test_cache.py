"""`/admin/v1/cache`: what is held, purged and damaged, and whose it is to see and to purge."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from gateway.emulator import EmulatorServer
from tests.api.admin.api_client import Api, admin_settings, fresh, in_force
from tests.end_to_end.test_refusals import check_refused
from tests.support.serving import PHOTOGRAPH, Running, serving
from tests.support.upstreams import png


@dataclass(frozen=True)
class Team:
    """A team with a key that is in force, and the API as a token of the team sees it."""

    name: str
    api: Api
    key_id: str
    secret: str
    served: Running

    def edit(self, prompt: str = "grey", **more: Any) -> str:
        """What the cache said of an edit."""
        answer = self.served.edit(prompt, key=self.secret, **more)
        assert answer.status_code == 200, answer.text
        return answer.headers["x-gateway-cache"]


def new_team(served: Running) -> Team:
    root = Api(served)
    name = root.new_team()
    key = root.new_key(name)
    secret = key["secret"]

    def known() -> bool:
        with served.client(secret) as client:
            return client.get("/v1/key").status_code == 200

    in_force(known)
    return Team(name, root.holder(f"team:{name}"), key["id"], secret, served)


@pytest.fixture
def team(served: Running) -> Team:
    return new_team(served)


@pytest.fixture
def other(served: Running) -> Team:
    return new_team(served)


# --- purge ----------------------------------------------------------------------------


def test_a_purged_result_is_a_miss_the_next_time_and_another_teams_stays(
    root: Api, team: Team, other: Team
) -> None:
    assert (team.edit(), other.edit()) == ("MISS", "MISS")
    purged = root.post("/cache/purge", team=team.name)

    assert (purged["complete"], purged["entries"], purged["purged"]) == (True, 1, 1)
    assert (team.edit(), other.edit()) == ("MISS", "HIT")


def test_a_team_purges_its_own_results_alone(team: Team, other: Team) -> None:
    team.edit()
    other.edit()
    everything = team.api.post("/cache/purge", all=True)
    same_model = team.api.post("/cache/purge", model="deepshi-image-1")

    assert (everything["purged"], same_model["purged"]) == (1, 0)
    assert everything["selection"] == {"team": team.name}
    assert other.edit() == "HIT"
    for document in ({"team": other.name}, {"key": f"{other.name}/first"}, {"key": "nobody/x"}):
        refused = team.api.ask("POST", "/cache/purge", json=document)
        check_refused(refused, 403, "permission_denied")
    assert team.api.post("/cache/purge", key=other.key_id)["purged"] == 0
    assert other.edit() == "HIT"


def test_a_team_that_names_the_fingerprint_of_another_purges_nothing(
    root: Api, team: Team, other: Team
) -> None:
    other.edit()
    (entry,) = root.post("/cache/purge", team=other.name, dry_run=True)["first"]
    purged = team.api.post("/cache/purge", fingerprint=entry["fingerprint"])

    assert purged["purged"] == 0
    assert purged["selection"] == {"fingerprint": entry["fingerprint"], "team": team.name}
    assert other.edit() == "HIT"


def test_every_result_of_a_picture_is_found_by_the_hash_of_its_bytes(team: Team) -> None:
    face = png(8, 8, noise=True)
    team.edit("alone", images=[face])
    team.edit("second", images=[PHOTOGRAPH, face])
    team.edit("without")
    purged = team.api.post("/cache/purge", containing=blake3(face).hexdigest())

    assert purged["purged"] == 2
    assert team.edit("second", images=[PHOTOGRAPH, face]) == "MISS"
    assert team.edit("without") == "HIT"


def test_a_dry_run_lists_what_would_go_and_leaves_it(root: Api, team: Team) -> None:
    team.edit()
    shown = root.post("/cache/purge", team=team.name, dry_run=True)

    assert (shown["dry_run"], shown["entries"], shown["purged"]) == (True, 1, 0)
    assert [entry["key"] for entry in shown["first"]] == [team.key_id]
    assert shown["bytes"] == shown["first"][0]["bytes"] > 1000
    assert team.edit() == "HIT"


def test_filters_narrow_together(root: Api, team: Team) -> None:
    team.edit()
    name = f"{team.name}/{root.get(f'/keys/{team.key_id}')['name']}"

    def count(**filters: object) -> object:
        return root.post("/cache/purge", dry_run=True, **filters)["entries"]

    assert count(team=team.name, key=name, model="deepshi-image-1", older_than=0) == 1
    assert count(team=team.name, older_than="1h") == 0
    assert count(team=team.name, older_than="0.5s", model="deepshi-multi-1") == 0
    assert count(key=team.key_id) == 1


def test_a_purge_is_in_the_audit_with_who_what_and_why(root: Api, team: Team) -> None:
    team.edit()
    team.api.post("/cache/purge", all=True, reason="the licence ended")
    row = root.every("/audit", subject="cache")[-1]

    assert row["action"] == "cache.purge"
    assert row["actor"].startswith("token:")
    assert row["reason"] == "the licence ended"
    assert (row["new"]["team"], row["new"]["entries"]) == (team.name, 1)


@pytest.mark.parametrize(
    ("document", "code", "param"),
    [
        ({}, "missing_field", "all"),
        ({"all": False}, "missing_field", "all"),
        ({"dry_run": True}, "missing_field", "all"),
        ({"team": None}, "missing_field", "all"),
        ({"all": "yes"}, "invalid_field", "all"),
        ({"all": {}, "model": "m"}, "invalid_field", "all"),
        ({"team": ""}, "invalid_field", "team"),
        ({"fingerprint": ""}, "invalid_field", "fingerprint"),
        ({"team": 7}, "invalid_field", "team"),
        ({"teams": "design"}, "invalid_field", "teams"),
        ({"all": True, "dry_run": 1}, "invalid_field", "dry_run"),
        ({"older_than": "a while"}, "invalid_field", "older_than"),
        ({"older_than": -1}, "invalid_field", "older_than"),
        ({"older_than": True}, "invalid_field", "older_than"),
        ({"older_than": [1]}, "invalid_field", "older_than"),
        ({"older_than": 1e300}, "invalid_field", "older_than"),
        ({"containing": "face.png"}, "invalid_field", "containing"),
        ({"containing": "A" * 64}, "invalid_field", "containing"),
        ({"key": "nobody/nothing"}, "not_found", "key"),
    ],
)
def test_what_can_not_be_purged_is_said_and_nothing_goes(
    root: Api, served: Running, document: dict[str, object], code: str, param: str
) -> None:
    before = root.get("/cache")["entries"]
    answer = root.ask("POST", "/cache/purge", json=document)

    check_refused(answer, 404 if code == "not_found" else 400, code, param=param)
    assert root.get("/cache")["entries"] == before


# --- stats ----------------------------------------------------------------------------


def test_stats_say_what_is_stored_and_what_it_was_worth(root: Api, team: Team) -> None:
    before = root.get("/cache")
    prompt = fresh("prompt")
    assert [team.edit(prompt) for _ in range(3)] == ["MISS", "HIT", "HIT"]
    in_force(lambda: root.get("/cache", team=team.name)["hits"] == 2)
    after, own = root.get("/cache"), team.api.get("/cache")

    assert after["entries"] == before["entries"] + 1
    assert after["max_bytes"] == 20 * 10**9
    assert after["counts"]["damaged"] >= 0
    assert own["team"] == team.name
    assert (own["entries"], own["answered"], own["hits"]) == (1, 3, 2)
    assert own["saved_usd"] == "0.02"
    assert [(top["uses"], top["saved_usd"]) for top in own["top_by_use"]] == [(2, "0.02")]
    assert own["counts"] is None, "what the process counted is of everybody"
    assert root.get("/cache", team=team.name) == own


def test_a_team_sees_nothing_of_another(team: Team, other: Team) -> None:
    other.edit()
    own = team.api.get("/cache")

    assert (own["entries"], own["bytes"], own["answered"]) == (0, 0, 0)
    refused = team.api.ask("GET", "/cache", params={"team": other.name})
    check_refused(refused, 403, "permission_denied", param="team")


# --- verify ---------------------------------------------------------------------------


def test_a_damaged_result_is_found_deleted_and_counted(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    with serving(admin_settings(tmp_path, emulator)) as served:
        root, team = Api(served), new_team(served)
        for prompt in ("one", "two", "three"):
            team.edit(prompt)
        sound = root.post("/cache/verify")
        damaged = next((tmp_path / "cache").glob("??/*.val"))
        damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
        found, again = root.post("/cache/verify"), root.post("/cache/verify")
        counts = root.get("/cache")["counts"]

    assert (sound["complete"], sound["checked"], sound["damaged"]) == (True, 3, 0)
    assert (found["checked"], found["damaged"]) == (3, 1)
    assert (again["checked"], again["damaged"]) == (2, 0)
    assert counts["damaged"] == 1


def test_results_that_can_not_be_read_are_a_503_and_edits_go_on(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    (tmp_path / "file").touch()
    cache = {"url": f"disk:{tmp_path / 'file' / 'cache'}"}
    with serving(admin_settings(tmp_path, emulator, {"cache": cache})) as served:
        root, team = Api(served), new_team(served)
        answers = [
            root.ask("GET", "/cache"),
            root.ask("POST", "/cache/purge", json={"all": True}),
            root.ask("POST", "/cache/verify"),
        ]
        word = team.edit()

    for answer in answers:
        check_refused(answer, 503, "results_unavailable")
        assert answer.headers["x-should-retry"] == "true"
    assert word == "MISS"
