"""Bad input on every form: a sentence beside the field, and nothing lost that was typed."""

from __future__ import annotations

import re
from collections.abc import Mapping

import httpx
import pytest

from gateway.console.page_table import PAGES
from tests.api.admin.api_client import ROOT_TOKEN
from tests.console.page_reader import ReadForm, ReadPage
from tests.console.planted import OWN_KEY, Planted
from tests.console.visiting import Visiting, signed_in

BAD = "no such value, and far too long for any field: " + "long " * 40
BY_SCRIPT = {"POST /console/try/edits"}
BUTTONS = {
    "POST /console/sign-out", "POST /console/keys/{id}/rotate", "POST /console/budgets/revoke",
    "POST /console/books/undo", "POST /console/operations/sign-out",
    "POST /console/pictures/{fingerprint}/version",
    "POST /console/pictures/{fingerprint}/version/buy",
    "POST /console/pictures/{fingerprint}/share", "POST /console/pictures/{fingerprint}/purge",
}  # fmt: skip
"""Forms into which nothing is typed."""
OF_OTHERS = {"POST /console/ask": "key", "POST /console/budgets/ask": "lead"}
"""Forms that an administrator does not have."""
FORMS = [route for route in PAGES if route.startswith("POST ") and route not in BY_SCRIPT]
SEARCHES = [
    "GET /console/requests", "GET /console/operations/audit", "GET /console/books/export.file",
    "GET /console/spend",
]  # fmt: skip


def form_of(planted: Planted, route: str) -> tuple[str, ReadForm]:
    """A form of the pages that people reach, with the secret of who has it."""
    secrets = {"key": OWN_KEY, "lead": planted.lead}
    secret = secrets.get(OF_OTHERS.get(route, ""), ROOT_TOKEN)
    if route == "POST /console/pictures/{fingerprint}/version/buy":
        with signed_in(planted.served) as visiting:
            address = planted.fill("/console/pictures/{fingerprint}")
            page = ReadPage(address, visiting.submit(f"{address}/version").text)
        return secret, next(form for form in page.forms if form.route == route)
    forms = planted.forms(secret)
    assert route in forms, "no page has this form: plant what it needs"
    return secret, forms[route]


def sent(visiting: Visiting, form: ReadForm, values: Mapping[str, str]) -> httpx.Response:
    if form.method == "GET":
        return visiting.get(form.action.partition("?")[0], params=values)
    files = [(each.name, ("odd.txt", BAD)) for each in form.fields if each.kind == "file"]
    data = {**values, "csrf": visiting.csrf}
    if not form.multipart:
        return visiting.post(form.action, data=data)
    return visiting.post(form.action, data=data, files=files)


def same_form(form: ReadForm, answer: httpx.Response) -> ReadForm:
    """The form in the page that answers it."""
    found = ReadPage(form.action, answer.text).forms
    return next(each for each in found if (each.route, each.typed) == (form.route, form.typed))


@pytest.mark.parametrize("route", [each for each in FORMS if each != "POST /console/sign-in"])
def test_what_is_wrong_is_said_beside_its_field_and_nothing_typed_is_lost(
    planted: Planted, route: str
) -> None:
    secret, form = form_of(planted, route)
    assert (route in BUTTONS) == (form.typed == [])
    if route not in BUTTONS:
        with signed_in(planted.served, secret) as visiting:
            answer = sent(visiting, form, form.filled(BAD))
        again = same_form(form, answer)
        typed = {each.name: each.value.strip() for each in again.fields if each.name in form.typed}

        assert 400 <= answer.status_code < 500
        assert re.search(r'class="error"[^>]* role="alert">[^<]+<', answer.text)
        assert typed == dict.fromkeys(form.typed, BAD.strip())


@pytest.mark.parametrize("route", SEARCHES)
def test_a_search_for_nonsense_keeps_what_was_typed(planted: Planted, route: str) -> None:
    _, form = form_of(planted, route)
    values = {name: text for name, text in form.filled(BAD).items() if name != "id"}
    with signed_in(planted.served) as visiting:
        answer = sent(visiting, form, values)
    again = same_form(form, answer)

    assert answer.status_code in (200, 400)
    assert (answer.status_code == 400) == ('role="alert"' in answer.text)
    typed = {each.name: each.value for each in again.fields if each.name in form.typed}
    assert typed == {**dict.fromkeys(form.typed, BAD), **({"id": ""} if "id" in typed else {})}


def test_a_wrong_secret_is_not_written_back(planted: Planted) -> None:
    with Visiting(planted.served) as visiting:
        answer = visiting.sign_in(BAD)

    assert answer.status_code == 401
    assert 'id="h-secret" role="alert"' in answer.text
    assert "far too long" not in answer.text
