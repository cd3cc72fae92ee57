"""The overview: its numbers are those of the admin API, and what is wrong comes first."""

from __future__ import annotations

import re

from tests.api.admin.api_client import ROOT_TOKEN, Api
from tests.console.browsing import Browsing
from tests.console.visiting import signed_in
from tests.support.serving import KEY, Running


def numbers(text: str) -> dict[str, str]:
    """The figures at the top by their names."""
    return dict(re.findall(r"<dt>([^<]+)</dt><dd[^>]*>([^<]+)</dd>", text))


def test_it_shows_the_month_as_the_admin_api_has_it(served: Running, root: Api) -> None:
    total = root.get("/usage", by="day")["total"]
    with signed_in(served) as visiting:
        shown = numbers(visiting.open("/console").text)

    assert (total["spent_usd"], total["images"], total["hits"]) == ("0.03", 3, 1)
    assert shown["Spent"] == "$0.03"
    assert shown["Saved"] == "$0.01"
    assert shown["Pictures bought"] == "3"
    assert shown["Hit share"] == "25 %"
    assert shown["Forecast"].startswith("$")


def test_it_names_the_budget_that_refused_edits(served: Running) -> None:
    with signed_in(served) as visiting:
        text = visiting.open("/console").text

    assert "refused 1 edit today" in text
    assert "$0.02 spent of $0.02 a month" in text


def test_a_team_sees_itself_alone(served: Running, root: Api) -> None:
    token = root.post("/tokens", name="photos lead", role="team:photos")["secret"]
    with signed_in(served, token) as visiting:
        text = visiting.open("/console").text

    assert numbers(text)["Spent"] == "$0.01"
    assert "photos/web" in text
    assert "design" not in text


def test_a_key_sees_its_own_limits_alone(served: Running) -> None:
    with signed_in(served, KEY) as visiting:
        text = visiting.open("/console").text

    assert numbers(text)["Left to spend"] == "$0.00"
    assert "team design" in text
    assert "photos" not in text


def test_the_chart_has_a_bar_for_today_and_a_table_beside_it(browse: Browsing) -> None:
    page = browse("/console", ROOT_TOKEN)

    assert page.locator("svg.bars rect").count() == 1
    box = page.locator("svg.bars rect").bounding_box()
    assert box is not None
    assert box["height"] > 50
    page.get_by_text("As a table").click()
    assert "$0.03" in page.locator("tbody tr").last.inner_text()
