"""Sign-in: what a session is bound to, how it ends, and what it is no use for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.console.rules.sign_in_rate import MOST_IN_A_MINUTE
from gateway.console.sessions import SESSION_SECONDS
from gateway.emulator import EmulatorServer
from tests.api.admin.api_client import ROOT_TOKEN, Api, in_force
from tests.console.visiting import COOKIE, Visiting, console_settings, may_sign_in, signed_in
from tests.support.serving import KEY, PHOTOGRAPH, Running, SteppedClock, make_key, serving


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def stepped(tmp_path: Path, emulator: EmulatorServer, clock: SteppedClock) -> Iterator[Running]:
    """A gateway of one test, with a clock that the test sets forward."""
    settings = console_settings(tmp_path, emulator)
    make_key(settings)
    with serving(settings, clock) as running:
        yield running


def test_without_a_session_a_page_leads_to_sign_in_and_back(served: Running) -> None:
    with Visiting(served) as visiting:
        away = visiting.get("/console?team=design")
        visiting.open(away.headers["location"])
        back = visiting.submit("/console/sign-in", secret=ROOT_TOKEN, next="/console?team=design")

    assert away.status_code == 303
    assert away.headers["location"] == "/console/sign-in?next=%2Fconsole%3Fteam%3Ddesign"
    assert (back.status_code, back.headers["location"]) == (303, "/console?team=design")


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(served: Running) -> None:
    with Visiting(served) as visiting:
        cookie = visiting.sign_in(ROOT_TOKEN).headers["set-cookie"]

    value, *attributes = cookie.split("; ")
    assert re.fullmatch(r"console=[\w-]{43}", value)
    assert set(attributes) == {"Path=/", f"Max-Age={SESSION_SECONDS}", "HttpOnly", "SameSite=Lax"}


def test_behind_tls_the_cookie_is_secure_and_of_this_host_alone(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    public = {"server": {"port": 0, "public_url": "https://images.example.com"}}
    with (
        serving(console_settings(tmp_path, emulator, public)) as running,
        Visiting(running, host="images.example.com") as visiting,
    ):
        answer = visiting.get("/console/sign-in")

    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-console=")
    assert cookie.endswith("; HttpOnly; SameSite=Lax; Secure")


@pytest.mark.parametrize("secret", ["", "sk-wrong-0123456789", "ünïcode", "x" * 10_000])
def test_a_wrong_secret_is_refused_beside_its_field(served: Running, secret: str) -> None:
    with Visiting(served) as visiting:
        answer = visiting.sign_in(secret)
        after = visiting.get("/console")

    assert answer.status_code in (400, 401)
    assert 'id="h-secret" role="alert"' in answer.text
    assert secret == "" or secret not in answer.text
    assert after.status_code == 303


def test_guessing_is_slowed_down(stepped: Running, clock: SteppedClock) -> None:
    with Visiting(stepped) as visiting:
        statuses = [visiting.sign_in(f"gwt-{i}").status_code for i in range(32)]
        locked = visiting.sign_in(ROOT_TOKEN).status_code
        clock.step(61)
        later = visiting.sign_in(ROOT_TOKEN).status_code

    assert statuses.count(401) == 30
    assert (statuses[-1], locked, later) == (429, 429, 303)


def test_signing_in_renews_the_cookie_so_that_a_planted_one_is_worth_nothing(
    served: Running,
) -> None:
    with Visiting(served) as attacker, Visiting(served) as victim:
        attacker.open("/console/sign-in")
        planted = attacker.cookies[COOKIE]
        victim.cookies.set(COOKIE, planted)
        victim.open("/console/sign-in")
        victim.submit("/console/sign-in", secret=ROOT_TOKEN)

        assert attacker.get("/console").status_code == 303


def test_a_second_sign_in_ends_the_first_session_of_the_browser(served: Running) -> None:
    with signed_in(served) as visiting:
        first = visiting.cookies[COOKIE]
        visiting.submit("/console/sign-in", secret=KEY)
        second = visiting.cookies[COOKIE]
        visiting.cookies.clear()
        statuses = []
        for cookie in (first, second):
            answer = visiting.get("/console", headers={"cookie": f"{COOKIE}={cookie}"})
            statuses.append(answer.status_code)

    assert statuses == [303, 200]


def test_a_session_ends_after_twelve_hours(stepped: Running, clock: SteppedClock) -> None:
    with signed_in(stepped) as visiting:
        clock.step(SESSION_SECONDS - 60)
        before = visiting.get("/console").status_code
        clock.step(61)
        after = visiting.get("/console").status_code

    assert (before, after) == (200, 303)


def test_a_revoked_token_ends_its_sessions_at_once(root: Api, served: Running) -> None:
    made = root.post("/tokens", name="to be revoked", role="finance")
    with signed_in(served, made["secret"]) as visiting:
        before = visiting.get("/console").status_code
        root.delete(f"/tokens/{made['id']}")

        assert (before, visiting.get("/console").status_code) == (200, 303)


def test_a_revoked_key_ends_its_sessions(root: Api, served: Running) -> None:
    key = root.new_key("photos")
    in_force(lambda: may_sign_in(served, key["secret"]))
    with signed_in(served, key["secret"]) as visiting:
        root.delete(f"/keys/{key['id']}")
        in_force(lambda: visiting.get("/console").status_code == 303)


def test_signing_out_ends_the_session_on_the_server(served: Running) -> None:
    with signed_in(served) as visiting:
        cookie = visiting.cookies[COOKIE]
        answer = visiting.submit("/console/sign-out")
        visiting.cookies.set(COOKIE, cookie)

        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert visiting.get("/console").status_code == 303


def test_sign_in_and_sign_out_are_in_the_audit_with_the_person(root: Api, served: Running) -> None:
    made = root.post("/tokens", name="ada", role="finance")
    with signed_in(served, made["secret"]) as visiting:
        visiting.submit("/console/sign-out")

    changes = [each for each in root.every("/audit") if each["actor"] == "token:ada"]
    assert [each["action"] for each in changes] == ["console.sign_in", "console.sign_out"]


def test_the_cookie_opens_neither_the_api_nor_the_admin_api(served: Running) -> None:
    with signed_in(served, KEY) as member, signed_in(served) as admin:
        models = member.get("/v1/models")
        edit = member.post(
            "/v1/images/edits",
            data={"model": "deepshi-image-1", "prompt": "grey"},
            files={"image[]": PHOTOGRAPH},
        )
        teams = admin.get("/admin/v1/teams")
        cookie = admin.cookies[COOKIE]
        as_token = admin.get("/admin/v1/teams", headers={"authorization": f"Bearer {cookie}"})

    statuses = [each.status_code for each in (models, edit, teams, as_token)]
    assert statuses == [401, 401, 401, 401]


@pytest.mark.parametrize("csrf", ["", "0" * 64, "of another browser"])
def test_a_form_of_another_page_changes_nothing(served: Running, csrf: str) -> None:
    with signed_in(served) as other, signed_in(served) as visiting:
        proof = other.csrf if csrf == "of another browser" else csrf
        forged = visiting.post("/console/sign-out", data={"csrf": proof})

        assert forged.status_code == 403
        assert visiting.get("/console").status_code == 200


def test_a_visitor_can_not_be_signed_in_by_another_site(served: Running) -> None:
    with Visiting(served) as visiting:
        answer = visiting.post("/console/sign-in", data={"secret": KEY})

    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "path",
    ["//evil.example", "https://evil.example", "/\\evil.example", "/console/..//evil.example",
     "/console@evil.example", "javascript:alert(1)", "/console\r\nx: y", "/v1/models"],
)  # fmt: skip
def test_sign_in_leads_nowhere_else(served: Running, path: str) -> None:
    with Visiting(served) as visiting:
        visiting.open("/console/sign-in")
        answer = visiting.submit("/console/sign-in", secret=ROOT_TOKEN, next=path)

    assert answer.headers["location"] == "/console"


def status_of_sign_in(served: Running, secret: str) -> int:
    """In a browser that has not signed in before."""
    with Visiting(served) as visiting:
        return visiting.sign_in(secret).status_code


def test_who_guesses_keeps_nobody_out_who_has_a_key_or_a_token(stepped: Running) -> None:
    token = Api(stepped).post("/tokens", name="finance", role="finance")["secret"]
    guesses = [status_of_sign_in(stepped, f"gwt-{i}") for i in range(32)]
    good = [status_of_sign_in(stepped, secret) for secret in (KEY, token)]

    assert (guesses[-1], good) == (429, [303, 303])
    assert status_of_sign_in(stepped, ROOT_TOKEN) == 429


def test_the_holder_of_a_key_fills_neither_the_audit_nor_the_sessions(
    stepped: Running, clock: SteppedClock
) -> None:
    clock.step(60 - clock() / 1000 % 60)
    statuses = [status_of_sign_in(stepped, KEY) for _ in range(MOST_IN_A_MINUTE + 2)]
    root = status_of_sign_in(stepped, ROOT_TOKEN)
    clock.step(60)

    assert statuses == [*[303] * MOST_IN_A_MINUTE, 429, 429]
    assert (root, status_of_sign_in(stepped, KEY)) == (303, 303)
