"""Requests: the list, what became of one, and whose requests a visitor sees."""

from __future__ import annotations

import re

import pytest

from tests.api.admin.api_client import Api
from tests.console.conftest import OTHER_KEY
from tests.console.visiting import Visiting, signed_in
from tests.support.serving import KEY, Running

LINE = re.compile(r'<tr><td><a href="/console/requests/(req_\w+)">')
OUTCOME = re.compile(r'<span class="tag (\w+)">')


def rows(visiting: Visiting, query: str = "") -> list[str]:
    return LINE.findall(visiting.get(f"/console/requests{query}").text)


def a_request(root: Api, **query: str) -> str:
    found: str = root.get("/requests", **query)["data"][0]["id"]
    return found


def test_the_newest_come_first_with_their_outcomes(served: Running) -> None:
    with signed_in(served) as visiting:
        text = visiting.get("/console/requests").text

    assert OUTCOME.findall(text) == ["miss", "refused", "miss", "hit", "miss"]
    assert "insufficient_quota" in text
    assert "photos/web" in text


@pytest.mark.parametrize(
    ("query", "number"),
    [("?team=photos", 1), ("?outcome=hit", 1), ("?cost_usd=0.01", 3), ("?cost_usd=0.02", 0),
     ("?key=design%2Ffirst", 4), ("?model=none-such", 0), ("?to=2026-01-01&from=2026-01-01", 0)],
)  # fmt: skip
def test_it_is_narrowed_by_team_key_outcome_cost_and_time(
    served: Running, query: str, number: int
) -> None:
    with signed_in(served) as visiting:
        assert len(rows(visiting, query)) == number


def test_older_requests_are_on_further_pages_each_once(root: Api) -> None:
    first = root.get("/requests", limit="2")
    second = root.get("/requests", limit="2", after=first["next"])
    third = root.get("/requests", limit="2", after=second["next"])

    ids = [each["id"] for page in (first, second, third) for each in page["data"]]
    assert ids == [each["id"] for each in root.get("/requests")["data"]]
    assert (len(set(ids)), third["has_more"]) == (5, False)


def test_one_request_says_what_happened_and_that_a_retry_is_free(
    served: Running, root: Api
) -> None:
    request_id = a_request(root, outcome="hit")
    with signed_in(served) as visiting:
        by_id = visiting.get(f"/console/requests?id={request_id}")
        text = visiting.get(by_id.headers["location"]).text

    assert "Safe to retry" in text
    assert "The picture is stored" in text
    assert "<strong>look up</strong>" in text
    assert "Nothing: no call was made for it alone." in text


def test_a_purchase_has_its_rows_of_the_ledger(served: Running, root: Api) -> None:
    request_id = a_request(root, team="photos")
    with signed_in(served) as visiting:
        text = visiting.get(f"/console/requests/{request_id}").text

    assert "<strong>forward</strong>" in text
    assert '<td class="money">$0.01</td>' in text
    assert ">photos/web</a>" in text


def test_a_team_and_a_key_see_their_own_alone(served: Running, root: Api) -> None:
    token = root.post("/tokens", name="lead of photos", role="team:photos")["secret"]
    others = a_request(root, team="design")
    with signed_in(served, token) as lead, signed_in(served, OTHER_KEY) as member:
        own = rows(lead)
        assert (len(own), rows(member)) == (1, own)
        for visiting in (lead, member):
            assert visiting.get(f"/console/requests/{others}").status_code == 404
            assert visiting.get(f"/console/requests/{own[0]}").status_code == 200
            assert visiting.get("/console/requests?team=design").status_code == 403
        assert lead.get("/console/requests?key=design/first").status_code == 403
    with signed_in(served, KEY) as visiting:
        assert len(rows(visiting)) == 4


def test_bad_input_is_refused_beside_its_field(served: Running) -> None:
    with signed_in(served) as visiting:
        answer = visiting.get("/console/requests?cost_usd=much&team=photos")
        unknown = visiting.get("/console/requests/req_%3Cb%3E")

    assert answer.status_code == 400
    assert 'id="h-cost_usd" role="alert">cost_usd takes an amount in dollars' in answer.text
    assert 'value="photos"' in answer.text
    assert unknown.status_code == 404
    assert "req_&lt;b&gt;" in unknown.text
