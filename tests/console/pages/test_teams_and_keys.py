"""Teams and keys: made, changed, rotated, revoked and paused by whom the admin API lets."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.api.admin.api_client import ROOT_TOKEN, Api, fresh, in_force
from tests.console.browsing import Browsing
from tests.console.visiting import signed_in
from tests.support.serving import Running

SECRET = re.compile(r"<code>(sk-[\w-]{43})</code>")


def lead_of(root: Api, team: str) -> str:
    secret: str = root.post("/tokens", name=fresh("lead"), role=f"team:{team}")["secret"]
    return secret


def changes_of(root: Api, subject: str) -> list[Any]:
    return root.every("/audit", subject=subject)


def test_a_team_and_its_key_are_made_and_the_snippet_works_at_once(
    served: Running, root: Api
) -> None:
    team = fresh("shop")
    with signed_in(served) as visiting:
        made = visiting.submit("/console/teams", name=team, budget_usd="5", owner="Ada")
        page = visiting.open(made.headers["location"])
        key = visiting.submit(f"/console/teams/{team}/keys", name="web")
        secret = SECRET.findall(key.text)[0]
        later = visiting.get(f"/console/teams/{team}").text
    in_force(lambda: served.edit(key=secret).status_code == 200)

    assert made.status_code == 303
    assert "$5.00" in page.text
    assert f"Authorization: Bearer {secret}" in key.text.replace("&#39;", "'")
    assert f"{served.url}/v1/images/edits" in key.text
    assert ">web</a>" in later
    assert secret not in later
    assert [each["actor"] for each in changes_of(root, f"team:{team}")] == ["root"]


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [({"name": "no spaces", "budget_usd": "5"}, "name"),
     ({"name": "", "budget_usd": "5"}, "name"),
     ({"name": "good", "budget_usd": "a lot"}, "budget_usd"),
     ({"name": "design", "budget_usd": "5"}, "name")],
)  # fmt: skip
def test_a_wrong_field_of_a_team_is_said_beside_it_and_nothing_is_lost(
    served: Running, fields: dict[str, str], wrong: str
) -> None:
    with signed_in(served) as visiting:
        answer = visiting.submit("/console/teams", **fields, owner="Ada Berg")

    assert 400 <= answer.status_code < 500
    assert 'value="Ada Berg"' in answer.text
    assert f'value="{fields["name"]}"' in answer.text
    assert f'id="h-{wrong}" role="alert"' in answer.text


def test_settings_change_where_they_were_changed(served: Running, root: Api) -> None:
    team = root.new_team(budget_usd="5", cost_centre="cc-1")
    with signed_in(served) as visiting:
        visiting.open(f"/console/teams/{team}")
        typed = {"budget_usd": "7.50", "max_in_flight": "3", "cost_centre": "cc-1"}
        answer = visiting.submit(f"/console/teams/{team}", **typed, reason="a new quarter")
        emptied = visiting.submit(f"/console/teams/{team}", max_in_flight="")

    last, before = changes_of(root, f"team:{team}")[-1:-3:-1]
    assert (answer.status_code, emptied.status_code) == (303, 303)
    assert before["new"] == {"budget_usd": "7.50", "max_in_flight": 3}
    assert before["reason"] == "a new quarter"
    assert (last["old"], last["new"]) == ({"max_in_flight": 3}, {"max_in_flight": None})


@pytest.mark.parametrize("owner", ["team", "key"])
def test_a_wrong_setting_is_said_beside_it_and_nothing_is_lost(
    served: Running, root: Api, owner: str
) -> None:
    team = root.new_team(budget_usd="5")
    path = f"/console/teams/{team}"
    if owner == "key":
        path = f"/console/keys/{root.new_key(team)['id']}"
    with signed_in(served) as visiting:
        answer = visiting.submit(path, budget_usd="7", max_in_flight="many", reason="kept")

    assert answer.status_code == 400
    assert 'id="h-s-max_in_flight" role="alert"' in answer.text
    assert 'value="many"' in answer.text
    assert 'value="7"' in answer.text
    assert 'value="kept"' in answer.text


def test_a_paused_team_says_so_until_it_is_resumed(served: Running, root: Api) -> None:
    team = root.new_team()
    with signed_in(served) as visiting:
        visiting.submit(f"/console/teams/{team}/pause", action="pause", reason="a leak")
        paused = visiting.get(f"/console/teams/{team}").text
        visiting.submit(f"/console/teams/{team}/pause", action="resume")
        resumed = visiting.get(f"/console/teams/{team}").text

    assert '<span class="tag bad">paused</span>' in paused
    assert "paused</span>" not in resumed


def test_an_archived_team_is_ended_and_still_listed_where_asked_for(
    served: Running, root: Api
) -> None:
    team = root.new_team()
    with signed_in(served) as visiting:
        visiting.submit(f"/console/teams/{team}/archive", reason="dissolved")
        listed = visiting.get("/console/teams").text
        with_archived = visiting.get("/console/teams?archived=true").text
        page = visiting.get(f"/console/teams/{team}").text

    assert f">{team}</a>" not in listed
    assert f">{team}</a>" in with_archived
    assert "Make the key" not in page
    assert changes_of(root, f"team:{team}")[-1]["reason"] == "dissolved"


def test_all_teams_are_limited_and_paused_together(served: Running, root: Api) -> None:
    with signed_in(served) as visiting:
        changed = visiting.submit("/console/organisation", max_in_flight="100")
        wrong = visiting.submit("/console/organisation", max_in_flight="many", reason="kept")
        visiting.submit("/console/organisation/pause", action="pause")
        paused = visiting.get("/console/organisation").text
        visiting.submit("/console/organisation/pause", action="resume")

    assert changed.status_code == 303
    assert root.get("/organisation")["max_in_flight"] == 100
    assert 'id="h-s-max_in_flight" role="alert"' in wrong.text
    assert 'value="kept"' in wrong.text
    assert '<span class="tag bad">paused</span>' in paused
    assert root.get("/organisation")["paused"] is False


@pytest.mark.parametrize(
    ("action", "prefix"), [("pause", "p-"), ("archive", "a-")], ids=["pause", "archive"]
)
def test_a_reason_that_is_no_line_is_said_beside_it(
    served: Running, root: Api, action: str, prefix: str
) -> None:
    team = root.new_team()
    with signed_in(served) as visiting:
        answer = visiting.submit(f"/console/teams/{team}/{action}", reason="long " * 50)

    assert answer.status_code == 400
    assert f'id="h-{prefix}reason" role="alert"' in answer.text
    assert "long long" in answer.text
    assert root.get(f"/teams/{team}")["paused"] is False


def test_a_key_is_rotated_changed_and_revoked(served: Running, root: Api) -> None:
    key = root.new_key("photos", tags={"project": "atlas"})
    path = f"/console/keys/{key['id']}"
    with signed_in(served) as visiting:
        assert 'value="project=atlas"' in visiting.open(path).text
        changed = visiting.submit(path, tags="project=atlas, site=berlin", models="a,b")
        rotated = visiting.submit(f"{path}/rotate", grace="0")
        revoked = visiting.submit(f"{path}/revoke", reason="lost")

    found = root.get(f"/keys/{key['id']}")
    assert (changed.status_code, rotated.status_code, revoked.status_code) == (303, 200, 303)
    assert found["tags"] == {"project": "atlas", "site": "berlin"}
    assert found["models"] == ["a", "b"]
    assert SECRET.findall(rotated.text)[0] != key["secret"]
    assert found["revoked_at"]
    assert changes_of(root, f"key:{key['id']}")[-1]["reason"] == "lost"


def test_a_lead_serves_itself_within_the_limits_of_the_team(served: Running, root: Api) -> None:
    team = root.new_team(budget_usd="5")
    with signed_in(served, lead_of(root, team)) as visiting:
        listing = visiting.get("/console/teams").text
        made = visiting.submit(f"/console/teams/{team}/keys", name="web", budget_usd="4")
        above = visiting.submit(f"/console/teams/{team}/keys", name="more", budget_usd="6")

    (key,) = root.get("/keys", team=team)["data"]
    with signed_in(served) as visiting:
        page = visiting.get(f"/console/keys/{key['id']}").text

    assert f'<dd class="note">by {key["created_by"]}</dd>' in page
    assert key["created_by"].startswith("token:lead-")
    assert f"<h1>{team}" in listing
    assert "Settings</h2>" not in listing
    assert SECRET.findall(made.text)
    assert above.status_code == 403
    assert 'id="h-budget_usd" role="alert"' in above.text
    assert 'value="more"' in above.text


def test_a_lead_reaches_nothing_of_another_team(served: Running, root: Api) -> None:
    own, other = root.new_team(), root.new_team()
    foreign = root.new_key(other)
    with signed_in(served, lead_of(root, own)) as visiting:
        answers = [
            visiting.get(f"/console/teams/{other}"),
            visiting.get(f"/console/keys/{foreign['id']}"),
            visiting.get("/console/keys/key_unknown"),
            visiting.submit(f"/console/teams/{other}", budget_usd="1"),
            visiting.submit(f"/console/teams/{own}", unlimited=""),
            visiting.submit(f"/console/teams/{own}/pause"),
            visiting.submit("/console/teams", name=fresh("team")),
            visiting.submit(f"/console/teams/{other}/keys", name="mine"),
            visiting.submit(f"/console/keys/{foreign['id']}", budget_usd="1"),
            visiting.submit(f"/console/keys/{foreign['id']}/rotate"),
            visiting.submit(f"/console/keys/{foreign['id']}/revoke"),
        ]

    assert [each.status_code for each in answers] == [403] * len(answers)
    assert not any(foreign["name"] in each.text for each in answers)
    assert root.get(f"/keys/{foreign['id']}")["revoked_at"] is None


def test_finance_looks_and_does_not_touch(served: Running, root: Api) -> None:
    token = root.post("/tokens", name=fresh("finance"), role="finance")["secret"]
    with signed_in(served, token) as visiting:
        page = visiting.get("/console/teams/design").text
        refused = visiting.submit("/console/teams/design/keys", name="web")

    assert "<h1>design" in page
    assert "Make the key" not in page
    assert refused.status_code == 403


def test_a_name_is_text_and_no_markup(browse: Browsing, root: Api) -> None:
    names = ["<img src=x onerror=alert(1)>", "{{ 7*7 }}", "\"'>&amp;<b>"]
    keys = [root.post("/keys", team="photos", name=name) for name in names]
    page = browse("/console/teams/photos", ROOT_TOKEN)

    assert set(names) <= set(page.locator("tbody td:first-child").all_inner_texts())
    assert page.locator("main img, main b").count() == 0
    page.goto(f"{browse.served.url}/console/keys/{keys[0]['id']}")
    assert names[0] in page.inner_text("h1")
