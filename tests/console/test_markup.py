"""What people and upstreams write is text on every page, whatever they write."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Dialog, FilePayload
from starlette.responses import JSONResponse

from gateway.console.page_table import PAGES
from tests.api.admin.api_client import ROOT_TOKEN, Api
from tests.console.browsing import Browsing
from tests.console.page_reader import ReadPage, route_of
from tests.console.planted import OWN, OWN_KEY, PLACES, VAULT_KEY, Planted, mark
from tests.console.visiting import signed_in
from tests.support.serving import PHOTOGRAPH, Running

NO_PAGES = {
    "GET /console/sso", "GET /console/sso/back", "GET /console/files/{id}",
    "GET /console/thumbnails/{id}", "GET /console/spend.csv", "GET /console/books/export.file",
    "GET /console/sign-in",
}  # fmt: skip
PAGES_SHOWN = [each for each in PAGES if each.startswith("GET ") and each not in NO_PAGES]
ASKED = (
    "team", "key", "end_user", "model", "outcome", "cost_usd", "from", "to", "by", "order", "page",
    "budget", "request", "subject", "after", "next", "booked", "asked", "period", "format", "usd",
)  # fmt: skip
"""What addresses of the console may ask for."""


@pytest.fixture(scope="module")
def served(planted: Planted) -> Running:
    """What `browse` opens."""
    return planted.served


@pytest.mark.parametrize("visitor", ["root", "lead", "key", "nobody"])
def test_nothing_that_was_written_is_markup_on_any_page(planted: Planted, visitor: str) -> None:
    secrets = {"root": ROOT_TOKEN, "lead": planted.vault_lead, "key": VAULT_KEY, "nobody": OWN_KEY}
    pages = planted.pages(secrets[visitor])

    assert len(pages) >= 9
    assert {address: page.runs for address, page in pages.items() if page.runs} == {}


def test_every_page_was_looked_at(planted: Planted) -> None:
    looked_at = {route_of("GET", address) for address in planted.pages(ROOT_TOKEN)}

    assert set(PAGES_SHOWN) - looked_at == set(), "a page that no link leads to"


@pytest.mark.parametrize("place", PLACES)
def test_a_page_shows_what_was_written_as_it_was_written(planted: Planted, place: str) -> None:
    pages = planted.pages(ROOT_TOKEN).values()

    assert any(page.says(mark(place)) for page in pages)


@pytest.mark.parametrize("route", PAGES_SHOWN)
def test_nothing_in_an_address_is_markup(planted: Planted, route: str) -> None:
    path, typed = route.split()[1], mark("address")
    query = dict.fromkeys(ASKED, typed)
    with signed_in(planted.served) as visiting:
        addresses = [planted.fill(path), re.sub("{.*?}", "%22%3E%3Cb%20onload=x%3E", path)]
        answers = [visiting.get(each, params=query) for each in addresses]
        answers += [visiting.get(addresses[0], params={each: typed}) for each in ("id", "by")]

    for answer in answers:
        assert answer.status_code < 500
        assert ReadPage(path, answer.text).runs == []


@pytest.mark.parametrize("said", ["refused", "broken", "no JSON"])
def test_what_an_upstream_says_is_text_beside_the_form(planted: Planted, said: str) -> None:
    upstream, words = planted.upstream, mark("refusal")
    document = {"error": {"message": words, "code": words, "param": words, "type": words}}
    status = {"refused": 400, "broken": 500, "no JSON": 200}[said]
    upstream.refusal = JSONResponse(words if said == "no JSON" else document, status)
    with signed_in(planted.served, OWN_KEY) as visiting:
        visiting.open("/console/try")
        data = {"csrf": visiting.csrf, "model": upstream.model, "prompt": f"try {said}"}
        files = [("image[]", (mark("file"), PHOTOGRAPH))]
        answer = visiting.post("/console/try", data=data, files=files)
        raw = visiting.post("/console/try/edits", data=data, files=files)
    upstream.refusal = None
    page = ReadPage("/console/try", answer.text)

    assert answer.status_code >= 400
    assert page.runs == []
    assert page.says(words) == (said == "refused")
    assert raw.headers["content-type"] == "application/json"
    assert raw.headers["x-content-type-options"] == "nosniff"


def test_a_statement_is_text_in_its_preview(planted: Planted) -> None:
    words = mark("statement").replace('"', '""')
    lines = f'request_id,time,cost_usd,model\n"{words}",2026-11-25T12:00:00Z,1.00,"{words}"\n'
    with signed_in(planted.served) as visiting:
        visiting.open("/console/books")
        data = {"csrf": visiting.csrf, "period": "2026-11", "edge": "0", "column": "model=model"}
        files = {"statement": (mark("file"), lines, "text/csv")}
        answer = visiting.post("/console/books/reconcile", data=data, files=files)
        odd = {"statement": ("odd.csv", lines.replace("cost_usd", mark("column")), "text/csv")}
        refused = visiting.post("/console/books/reconcile", data=data, files=odd)
    page = ReadPage("/console/books/reconcile", answer.text)

    assert (answer.status_code, refused.status_code) == (200, 400)
    assert page.says(mark("statement"))
    assert page.runs == []
    assert ReadPage("/console/books", refused.text).runs == []


def test_in_a_browser_nothing_of_it_runs(planted: Planted, browse: Browsing) -> None:
    dialogs: list[str] = []

    def note(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page = browse("/console", ROOT_TOKEN)
    page.on("dialog", note)
    for address in _pages_with_every_mark(planted):
        page.goto(f"{planted.served.url}{address}")
        assert page.locator("[onerror], img[src=x]").count() == 0, address

    page.goto(f"{planted.served.url}/console/try?team={OWN}")
    file = FilePayload(name=mark("file"), mimeType="image/jpeg", buffer=PHOTOGRAPH)
    planted.upstream.refusal = JSONResponse({"error": {"message": mark("refusal")}}, 400)
    page.fill("#f-prompt", mark("prompt"))
    page.set_input_files("#f-pictures", file)
    page.get_by_text("Would be bought").wait_for()
    browse.expect_status(400)
    page.get_by_role("button", name="Run").click()
    page.locator("#result .message.bad").wait_for()
    planted.upstream.refusal = None

    assert mark("refusal") in page.inner_text("#result")
    assert mark("prompt")[2:] in page.inner_text("#command")
    assert page.locator("[onerror], img[src=x]").count() == 0
    assert dialogs == []


def _pages_with_every_mark(planted: Planted) -> list[str]:
    """A few pages that show together what was planted."""
    shown = {
        address: {place for place in PLACES if page.says(mark(place))}
        for address, page in planted.pages(ROOT_TOKEN).items()
    }
    found, missing = [], set(PLACES)
    while missing:
        best = max(shown, key=lambda address: len(shown[address] & missing))
        found.append(best)
        missing -= shown[best]
    return found


def test_a_team_can_not_have_such_a_name(planted: Planted) -> None:
    answer = Api(planted.served).ask("POST", "/teams", json={"name": mark("team")})

    assert answer.status_code == 400
