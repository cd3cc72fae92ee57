"""Spend: the numbers of the admin API in any grouping, as a page, a chart and CSV."""

from __future__ import annotations

import re
from datetime import date

import pytest

from gateway.ledger.rules.usage_grouping import COLUMNS
from gateway.queries.usage_report import PAID_BY
from tests.api.admin.api_client import ROOT_TOKEN, Api
from tests.console.browsing import Browsing
from tests.console.visiting import signed_in
from tests.support.serving import Running


def cells(text: str) -> list[list[str]]:
    """The rows of the table, the total last."""
    rows = re.findall(r"<tr>(.*?)</tr>", text.partition("<tbody>")[2], re.DOTALL)
    found = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL) for row in rows]
    return [[re.sub(r"<[^>]+>|\s+", " ", cell).strip() for cell in row] for row in found]


def test_the_table_is_the_report_and_adds_up(served: Running) -> None:
    with signed_in(served) as visiting:
        rows = cells(visiting.get("/console/spend?by=team").text)

    assert [(row[0], row[2], row[3], row[4]) for row in rows] == [
        ("design", "$0.02", "$0.01", "2"),
        ("photos", "$0.01", "$0.00", "1"),
        ("Total", "$0.03", "$0.01", "3"),
    ]


@pytest.mark.parametrize("by", [*COLUMNS, PAID_BY, "tag&tag=project", "team,day"])
def test_every_grouping_has_a_page(served: Running, by: str) -> None:
    with signed_in(served) as visiting:
        answer = visiting.get(f"/console/spend?by={by}")

    assert answer.status_code == 200, answer.text
    assert by == PAID_BY or cells(answer.text)[-1][0] == "Total"


def test_csv_is_that_of_the_admin_api(served: Running, root: Api) -> None:
    today = date.today().isoformat()
    query = {"by": "team,model", "from": f"{today[:7]}-01", "to": today}
    expected = root.ask("GET", "/usage", params=query, headers={"accept": "text/csv"})
    with signed_in(served) as visiting:
        answer = visiting.get("/console/spend.csv", params=query)

    assert answer.text == expected.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"].startswith('attachment; filename="spend-')


def test_the_link_to_share_and_the_csv_are_of_the_days_that_are_shown(served: Running) -> None:
    with signed_in(served) as visiting:
        text = visiting.get("/console/spend?by=model").text.replace("&amp;", "&")
        shared = re.findall(r'href="(http[^"]+)">Link to share', text)
        again = visiting.get(shared[0]).text

    assert "from=" in shared[0]
    assert "to=" in shared[0]
    assert cells(again) == cells(text)


@pytest.mark.parametrize(
    ("query", "wrong"),
    [("from=2026-13-01", "from"), ("to=yesterday", "to"), ("by=colour", "by"),
     ("team=nobody", "team"), ("from=2026-02-02&to=2026-01-01", "from")],
)  # fmt: skip
def test_a_wrong_field_has_a_sentence_beside_it_and_keeps_what_was_typed(
    served: Running, query: str, wrong: str
) -> None:
    with signed_in(served) as visiting:
        answer = visiting.get(f"/console/spend?{query}")

    assert 400 <= answer.status_code < 500
    assert f'id="h-{wrong}" role="alert"' in answer.text
    typed = query.partition(f"{wrong}=")[2].partition("&")[0]
    assert wrong == "by" or f'value="{typed}"' in answer.text


def test_what_is_typed_is_text_and_no_markup(served: Running) -> None:
    with signed_in(served) as visiting:
        answer = visiting.get("/console/spend", params={"team": '"><script>alert(1)</script>'})

    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;alert(1)" in answer.text


def test_a_team_can_not_look_into_another(served: Running, root: Api) -> None:
    token = root.post("/tokens", name="a lead", role="team:photos")["secret"]
    with signed_in(served, token) as visiting:
        own = visiting.get("/console/spend")
        other = visiting.get("/console/spend?team=design")
        csv = visiting.get("/console/spend.csv?team=design")

    assert cells(own.text)[-1][2] == "$0.01"
    assert (other.status_code, csv.status_code) == (403, 403)
    assert "$0.02" not in other.text + csv.text


def test_the_chart_is_in_the_colours_of_the_groups(browse: Browsing) -> None:
    page = browse("/console/spend?by=team", ROOT_TOKEN)

    assert page.locator(".legend li").all_inner_texts() == ["design", "photos"]
    fills = page.locator("svg.bars rect").evaluate_all(
        "bars => bars.map(bar => getComputedStyle(bar).fill)"
    )
    assert len(set(fills)) == 2
    page.get_by_role("link", name="design").click()
    page.wait_for_url("**by=key**")
    assert page.locator("tbody td").first.inner_text() == "design/first"
