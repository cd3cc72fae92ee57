"""Nobody reaches what is another team's: by no page, form, picture, address or guess."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest

from gateway.console.page_table import PAGES
from tests.api.admin.api_client import ROOT_TOKEN
from tests.console.page_reader import ReadPage
from tests.console.planted import OWN_KEY, VAULT, Planted, mark
from tests.console.visiting import Visiting, signed_in
from tests.support.serving import PHOTOGRAPH

LEAD, KEY, BOTH, NONE = ("lead",), ("key",), ("lead", "key"), ()
Attempt = tuple[str, Mapping[str, str], tuple[str, ...]]
"""What is asked for or sent beside the path, and for whom the page is there, with its own."""
PRIVATE = {route for route, page in PAGES.items() if not page.public}
TRIED = {"team": VAULT, "model": mark("model"), "prompt": "theirs"}
ATTEMPTS: Mapping[str, Attempt] = {
    "GET /console": (f"?team={VAULT}", {}, BOTH),
    "POST /console/sign-out": ("", {"csrf": "0"}, NONE),
    "POST /console/ask": ("", {"level": "team", "usd": "1", "reason": "r", "team": VAULT}, KEY),
    "GET /console/spend": (f"?by=key&team={VAULT}", {}, NONE),
    "GET /console/spend.csv": (f"?by=key&team={VAULT}", {}, NONE),
    "GET /console/teams": (f"?after={VAULT[:-1]}", {}, LEAD),
    "POST /console/teams": ("", {"name": "another"}, NONE),
    "GET /console/teams/{name}": ("", {}, NONE),
    "POST /console/teams/{name}": ("", {"budget_usd": "1"}, NONE),
    "POST /console/teams/{name}/pause": ("", {"action": "pause"}, NONE),
    "POST /console/teams/{name}/archive": ("", {"reason": "r"}, NONE),
    "POST /console/teams/{name}/keys": ("", {"name": "mine"}, NONE),
    "GET /console/organisation": ("", {}, NONE),
    "POST /console/organisation": ("", {"budget_usd": "1"}, NONE),
    "POST /console/organisation/pause": ("", {"action": "pause"}, NONE),
    "GET /console/keys/{id}": ("", {}, NONE),
    "POST /console/keys/{id}": ("", {"budget_usd": "1"}, NONE),
    "POST /console/keys/{id}/rotate": ("", {"grace": "0"}, NONE),
    "POST /console/keys/{id}/revoke": ("", {"reason": "r"}, NONE),
    "GET /console/requests": (f"?team={VAULT}", {}, NONE),
    "GET /console/requests/{id}": ("", {}, NONE),
    "GET /console/budgets": (f"?budget={VAULT}", {}, LEAD),
    "POST /console/budgets/grant": ("", {"budget": VAULT, "usd": "1", "reason": "r"}, NONE),
    "POST /console/budgets/revoke": ("", {"id": "GRANT"}, NONE),
    "POST /console/budgets/ask": ("", {"budget": VAULT, "usd": "1", "reason": "r"}, NONE),
    "GET /console/try": (f"?team={VAULT}", {}, BOTH),
    "POST /console/try": ("", TRIED, BOTH),
    "POST /console/try/quote": ("", TRIED, BOTH),
    "POST /console/try/edits": ("", TRIED, BOTH),
    "GET /console/files/{id}": ("FILE", {}, NONE),
    "GET /console/thumbnails/{id}": ("THUMBNAIL", {}, NONE),
    "GET /console/pictures": (f"?team={VAULT}", {}, BOTH),
    "GET /console/pictures/{fingerprint}": ("", {}, NONE),
    "POST /console/pictures/{fingerprint}/version": ("", {}, NONE),
    "POST /console/pictures/{fingerprint}/version/buy": ("", {"variant": "2"}, NONE),
    "POST /console/pictures/{fingerprint}/share": ("", {}, NONE),
    "POST /console/pictures/{fingerprint}/purge": ("", {}, NONE),
    "GET /console/books": ("", {}, NONE),
    "POST /console/books/reconcile": ("", {"packed": "x"}, NONE),
    "POST /console/books/correct": ("", {"request_id": "REQUEST", "cost_usd": "0"}, NONE),
    "POST /console/books/close": ("", {"period": "2026-10"}, NONE),
    "POST /console/books/undo": ("", {"id": "BATCH", "confirm": "1"}, NONE),
    "GET /console/books/export.file": ("?period=2026-11&format=csv", {}, NONE),
    "GET /console/operations": ("", {}, NONE),
    "POST /console/operations/prices": ("", {"model": "m", "price_usd": "0"}, NONE),
    "POST /console/operations/sign-out": ("", {"actor": "root"}, NONE),
    "GET /console/operations/audit": (f"?subject=team:{VAULT}", {}, NONE),
    "GET /console/operations/settings": ("", {}, NONE),
}
THEIRS = ("key", "owner", "centre", "tag", "user", "prompt", "ask", "grant", "token")
"""What pages say of the team `vault` alone."""


def test_every_page_has_an_attempt() -> None:
    assert set(ATTEMPTS) == PRIVATE, "say in ATTEMPTS how another team's would be reached"


@pytest.fixture(scope="module")
def pictures(planted: Planted) -> Iterator[dict[str, str]]:
    """Addresses of pictures of `vault`, from the pages of a session of its lead."""
    with signed_in(planted.served, planted.vault_lead) as visiting:
        page = visiting.open(planted.fill("/console/pictures/{fingerprint}")).text
        gallery = visiting.open("/console/pictures").text
        sent, made = re.findall(r'<img src="(/console/files/[^"]+)"', page)
        thumbnail, *_ = re.findall(r'<img src="(/console/thumbnails/[^"]+)"', gallery)
        found = {"SENT": sent, "FILE": made, "THUMBNAIL": thumbnail}
        yield {name: address.replace("&amp;", "&") for name, address in found.items()}


def attempted(planted: Planted, pictures: Mapping[str, str], visiting: Visiting, route: str) -> Any:
    (method, path), (more, fields, _) = route.split(), ATTEMPTS[route]
    if more in pictures:
        return visiting.get(pictures[more])
    if method == "GET":
        return visiting.get(f"{planted.fill(path)}{more}")
    ids = {"GRANT": planted.grant, "REQUEST": planted.request, "BATCH": planted.batch}
    typed = {name: ids.get(text, text) for name, text in fields.items()}
    files = [("image[]", ("a.jpg", PHOTOGRAPH))] if fields is TRIED else None
    data = {"csrf": visiting.csrf, **typed}
    return visiting.post(planted.fill(path), data=data, files=files)


def says_theirs(planted: Planted, answer: httpx.Response) -> list[str]:
    page = ReadPage("/", answer.text)
    ids = (planted.key, planted.request, planted.fingerprint, planted.grant)
    return [
        each for each in (*map(mark, THEIRS), *ids) if page.says(each) and each not in sent(answer)
    ]


def sent(answer: httpx.Response) -> str:
    """What the visitor has said, which a page may say again."""
    return str(answer.request.url)


def is_private(answer: httpx.Response) -> bool:
    """Is it kept by nobody else, framed by nobody, and taken for nothing but what it is?"""
    policy, cache = answer.headers["content-security-policy"], answer.headers["cache-control"]
    framed_by_nobody = "frame-ancestors 'none'" in policy or policy.startswith("sandbox;")
    kept_by_nobody = cache == "no-store" or cache.startswith("private, ")
    return framed_by_nobody and kept_by_nobody and "x-content-type-options" in answer.headers


def state_of(planted: Planted) -> tuple[Any, ...]:
    """What of the team `vault`, or of all, an attempt could have changed."""
    root = planted.root
    team = {**root.get(f"/teams/{VAULT}"), "budget": None}
    key = [{**each, "budget": None} for each in root.get("/keys", team=VAULT)["data"]]
    grants = root.get("/budgets/grants", team=VAULT)["data"]
    ledger = root.get("/ledger", team=VAULT)["data"]
    stored = root.get(f"/requests/{planted.request}")["stored"]
    return team, key, grants, ledger, stored, root.get("/organisation")["paused"]


@pytest.mark.parametrize("visitor", ["lead", "key"])
def test_nothing_of_another_team_is_reached(
    planted: Planted, pictures: Mapping[str, str], visitor: str
) -> None:
    secret = planted.lead if visitor == "lead" else OWN_KEY
    before, faults = state_of(planted), []
    with signed_in(planted.served, secret) as visiting:
        for route, (_, _, there_for) in ATTEMPTS.items():
            answer = attempted(planted, pictures, visiting, route)
            good = (200, 303) if visitor in there_for else (403, 404)
            if answer.status_code not in good or says_theirs(planted, answer):
                faults.append((route, answer.status_code, says_theirs(planted, answer)))
        sent_picture = visiting.get(pictures["SENT"])

    assert faults == []
    assert sent_picture.status_code == 403
    assert state_of(planted) == before


def test_who_has_not_signed_in_is_sent_to_sign_in_from_everywhere(
    planted: Planted, pictures: Mapping[str, str]
) -> None:
    with Visiting(planted.served) as visiting:
        visiting.open("/console/sign-in")
        answers = [attempted(planted, pictures, visiting, route) for route in ATTEMPTS]

    assert {each.status_code for each in answers} == {303}
    places = {each.headers["location"].partition("?")[0] for each in answers}
    assert places == {"/console/sign-in"}


def test_whose_it_is_sees_it_and_no_cache_and_no_frame_does(
    planted: Planted, pictures: Mapping[str, str]
) -> None:
    """The control of the attempts: their addresses are right."""
    reads = [route for route in ATTEMPTS if route.startswith("GET ") and route not in FILES]
    with signed_in(planted.served, ROOT_TOKEN) as visiting:
        answers = {route: attempted(planted, pictures, visiting, route) for route in reads}
    every = ("GET /", "GET /console/sign-in", "GET /console/none")
    with Visiting(planted.served) as nobody:
        answers |= {route: nobody.get(route.split()[1]) for route in every}

    refused = {route for route, answer in answers.items() if answer.status_code != 200}
    assert refused == {"GET /console/none"}
    assert [route for route, answer in answers.items() if not is_private(answer)] == []


FILES = {"GET /console/files/{id}", "GET /console/thumbnails/{id}"}


def test_an_address_of_a_picture_is_not_to_be_guessed(planted: Planted) -> None:
    """A proof or signature counts to its last character, and for one picture alone."""
    with signed_in(planted.served) as visiting, Visiting(planted.served) as nobody:
        gallery = visiting.open("/console/pictures").text
        thumbnails = re.findall(r'<img src="(/console/thumbnails/[^"]+)"', gallery)
        page = visiting.open(planted.fill("/console/pictures/{fingerprint}")).text
        file = re.findall(r'<img src="(/console/files/v2[^"]+)"', page)[0]
        share = visiting.submit(planted.fill("/console/pictures/{fingerprint}/share"))
        link = re.findall(r"<code>http://pictures.test(/v1/pictures/[^<]+)<", share.text)[0]
        link = link.replace("&amp;", "&")
        own = [visiting.get(file), visiting.get(thumbnails[0]), nobody.get(link)]
        other = thumbnails[1].partition("?")[0] + "?" + thumbnails[0].partition("?")[2]
        guesses = [*changed(file), *changed(thumbnails[0]), other]
        wrong = [visiting.get(each).status_code for each in guesses]
        wrong += [nobody.get(each).status_code for each in changed(link)]

    assert [each.status_code for each in own] == [200, 200, 200]
    assert all(is_private(each) for each in own[:2])
    assert len(wrong) > 100
    assert set(wrong) == {403}


def changed(address: str) -> list[str]:
    """The address with another value at each place of its proof, and with other ends."""
    path, _, query = address.partition("?")
    found = [path]
    for name, value in re.findall(r"(proof|signature|expires)=([^&]+)", query):
        others = [
            f"{value[:at]}{'0' if value[at] != '0' else '1'}{value[at + 1 :]}"
            for at in range(0, len(value), 2)
        ]
        found += [
            f"{path}?{query.replace(f'{name}={value}', f'{name}={each}')}"
            for each in (*others, "", value[:-1], value * 2)
        ]
    return found
