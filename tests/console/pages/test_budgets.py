"""Budgets: asked for by a team, granted, declined and revoked by those who may."""

from __future__ import annotations

import re

import pytest

from tests.api.admin.api_client import Api, fresh, in_force
from tests.console.visiting import may_sign_in, signed_in
from tests.support.serving import Running


def test_a_team_asks_and_finance_grants(served: Running, root: Api) -> None:
    team = root.new_team(budget_usd="5")
    lead = root.post("/tokens", name=fresh("lead"), role=f"team:{team}")["secret"]
    finance = root.post("/tokens", name=fresh("finance"), role="finance")["secret"]
    with signed_in(served, lead) as visiting:
        form = visiting.open("/console/budgets").text
        asked = visiting.submit("/console/budgets/ask", budget=team, usd="2", reason="a fair")
        again = visiting.submit("/console/budgets/ask", budget=team, usd="3", reason="more")
        own = visiting.submit("/console/budgets/grant", budget=team, usd="2")
    with signed_in(served, finance) as visiting:
        page = visiting.open("/console/budgets").text
        request = re.findall(r'name="request" value="(grt_\w+)"', page)[-1]
        granted = visiting.submit("/console/budgets/grant", request=request)

    grants = root.every("/budgets/grants", team=team)
    assert f'value="{team}"' in form
    assert (asked.status_code, again.status_code, own.status_code) == (303, 409, 403)
    assert "is open: wait for its decision" in again.text
    assert 'value="more"' in again.text
    assert f"<strong>{team}</strong> asks for <strong>$2.00</strong> more: a fair" in page
    assert granted.status_code == 303
    assert [(each["status"], each["usd"]) for each in grants] == [("granted", "2.00")]
    assert root.get(f"/teams/{team}")["budget"]["limit_usd"] == "7.00"


def test_a_request_is_declined_and_a_grant_revoked(served: Running, root: Api) -> None:
    team = root.new_team(budget_usd="5")
    asked = root.post("/budgets/requests", budget=team, usd="2", reason="a fair")
    given = root.post("/budgets/grants", budget=team, usd="3")
    with signed_in(served) as visiting:
        named = visiting.open(f"/console/budgets?request={asked['id']}").text
        for each in (asked, given):
            visiting.submit("/console/budgets/revoke", id=each["id"])

    ended = root.every("/budgets/grants", team=team, ended="true")
    assert '<li class="named">' in named
    assert {each["status"] for each in ended} == {"declined", "revoked"}


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [({"usd": "much"}, "usd"), ({"usd": "-1"}, "usd"), ({"budget": "design", "usd": ""}, "usd"),
     ({"usd": "2", "until": "2020-01-01"}, "until"), ({"usd": "2", "budget": "nobody"}, "budget"),
     ({"usd": "2", "budget": "photos"}, "budget")],
)  # fmt: skip
def test_a_wrong_field_has_a_sentence_beside_it(
    served: Running, fields: dict[str, str], wrong: str
) -> None:
    typed = {"budget": "design", "until": "", "reason": "kept", **fields}
    with signed_in(served) as visiting:
        answer = visiting.submit("/console/budgets/grant", **typed)

    assert 400 <= answer.status_code < 500
    assert f'id="h-{wrong}" role="alert"' in answer.text
    assert 'value="kept"' in answer.text


def test_the_holder_of_a_key_asks_with_what_was_typed_kept(served: Running, root: Api) -> None:
    team = root.new_team(budget_usd="5")
    key = root.new_key(team)
    in_force(lambda: may_sign_in(served, key["secret"]))
    with signed_in(served, key["secret"]) as visiting:
        wrong = visiting.submit("/console/ask", level="key", usd="2", reason="kept")
        asked = visiting.submit("/console/ask", level="team", usd="2", reason="a fair")
        told = visiting.get(asked.headers["location"]).text

    grants = root.every("/budgets/grants", team=team)
    assert wrong.status_code == 400
    assert 'id="h-level" role="alert"' in wrong.text
    assert 'value="kept"' in wrong.text
    assert "Asked. An administrator" in told
    assert [(each["asked_by"], each["budget"]) for each in grants] == [(key["id"], team)]
