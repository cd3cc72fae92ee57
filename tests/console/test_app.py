"""Where the console answers, the headers of its pages, and which role sees which page."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path

import pytest

from gateway.console.page_table import PAGES
from gateway.console.rendering import environment
from gateway.emulator import EmulatorServer
from tests.api.admin.api_client import Api
from tests.console.visiting import Visiting, console_settings, signed_in
from tests.support.serving import KEY, Running, serving

POLICY = (
    "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; "
    "frame-ancestors 'none'; form-action 'self'"
)
SHOWN = [route.split()[1] for route in PAGES if route.startswith("GET ") and "{" not in route]
PRIVATE = [path for path in SHOWN if not PAGES[f"GET {path}"].public]
CONSOLE_PATHS = ("/", "/console", "/console/sign-in", "/console/static/console.css", "/console/x")


def test_it_answers_this_machine(served: Running) -> None:
    with Visiting(served) as visiting:
        statuses = [visiting.get(path).status_code for path in CONSOLE_PATHS]

    assert statuses == [200, 303, 200, 200, 404]


@pytest.mark.parametrize(
    "headers", [{"host": "evil.example"}, {"x-forwarded-for": "127.0.0.1"}, {"via": "1.1 proxy"}]
)
def test_to_others_it_is_not_there(served: Running, headers: dict[str, str]) -> None:
    """Neither behind a proxy that nobody told of, nor to a page that rebinds its name."""
    with Visiting(served, **headers) as visiting:
        answers = [visiting.get(path) for path in CONSOLE_PATHS]

    assert {each.status_code for each in answers} == {404}
    assert {each.headers["content-type"] for each in answers} == {"application/json"}


def test_with_a_public_url_it_answers_everybody_and_links_below_it(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    public = {"server": {"port": 0, "public_url": "https://images.example.com/gateway"}}
    with (
        serving(console_settings(tmp_path, emulator, public)) as running,
        Visiting(running, host="images.example.com", via="1.1 proxy") as visiting,
    ):
        page, away = visiting.get("/"), visiting.get("/console")

    assert "https://images.example.com/gateway/v1" in page.text
    assert 'href="/gateway/console/sign-in"' in page.text
    assert away.headers["location"].startswith("/gateway/console/sign-in?next=")


def test_switched_off_it_is_wholly_gone(tmp_path: Path, emulator: EmulatorServer) -> None:
    settings = console_settings(tmp_path, emulator, {"console": {"enabled": False}})
    with serving(settings) as running, Visiting(running) as visiting:
        answers = [visiting.get(path) for path in CONSOLE_PATHS]

    assert {each.status_code for each in answers} == {404}
    assert "There is nothing at" in answers[0].text


@pytest.mark.parametrize("path", [*SHOWN, "/console/no-such-page"])
def test_a_page_has_the_policy_and_is_kept_by_nobody(served: Running, path: str) -> None:
    with signed_in(served) as visiting:
        answer = visiting.get(path)

    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert "content-encoding" not in answer.headers
    for inline in ("<style", " style=", "<script>", " onclick=", "javascript:"):
        assert inline not in answer.text


@pytest.mark.parametrize("role", ["admin", "finance", "team:photos", "key"])
@pytest.mark.parametrize("path", PRIVATE)
def test_a_role_sees_the_pages_whose_route_of_the_admin_api_it_may_use(
    served: Running, root: Api, path: str, role: str
) -> None:
    page = PAGES[f"GET {path}"]
    if role == "key":
        secret, expected = KEY, page.members
    else:
        made = root.post("/tokens", name=f"{role} at {path}", role=role)
        secret = made["secret"]
        route = page.needs or "GET /budgets"
        expected = _may(served, secret, route)
    with signed_in(served, secret) as visiting:
        answer = visiting.get(path)
        menu = visiting.get("/console").text

    assert answer.status_code == (200 if expected else 403), answer.text
    assert not page.menu or (f">{page.menu}</a>" in menu) == expected


def _may(served: Running, secret: str, route: str) -> bool:
    """Does the admin API itself let the holder of this token use the route?"""
    answer = Api(served, secret).ask(*route.split())
    return "permission_denied" not in answer.text


def test_a_file_is_kept_by_browsers_until_it_changes(served: Running) -> None:
    with Visiting(served) as visiting:
        answer = visiting.get("/console/static/console.css")
        missing = visiting.get("/console/static/..%2Fapp.py")

    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert missing.status_code == 404


@pytest.mark.parametrize("route", [route for route in PAGES if route.startswith("POST ")])
def test_no_form_is_taken_without_the_token_of_a_page(served: Running, route: str) -> None:
    path = route.split()[1].replace("{name}", "design").replace("{id}", "key_1")
    with signed_in(served) as visiting:
        bare = visiting.post(path)
        wrong = visiting.post(path, data={"csrf": "0" * 64}, headers={"x-csrf-token": "0" * 64})
        query = visiting.post(f"{path}?csrf={visiting.csrf}")

    assert [each.status_code for each in (bare, wrong, query)] == [403, 403, 403]
    assert "reload the page and send the form again" in bare.text


def test_no_template_writes_a_value_as_markup() -> None:
    templates = environment(UTC, str)

    assert templates.autoescape is True
    for name in templates.list_templates():
        source = Path("gateway/console/templates", name).read_text(encoding="utf-8")
        assert "|safe" not in source.replace(" ", "")
        assert "autoescapefalse" not in source.replace(" ", "")


@pytest.mark.parametrize("query", ["&".join(f"a{n}=" for n in range(300)), "next=%00"])
def test_a_query_that_is_none_is_refused_and_no_crash(served: Running, query: str) -> None:
    with Visiting(served) as visiting:
        answer = visiting.get(f"/console/sign-in?{query}")
        visiting.open("/console/sign-in")
        form = visiting.submit("/console/sign-in", secret="a\0b")

    assert (answer.status_code, form.status_code) == (400, 400)
    assert "a request crashed" not in served.log.getvalue()
