"""Single sign-on: a real provider's people by their groups, and attacks of all kinds."""

from __future__ import annotations

import itertools
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from gateway.console.oidc import METADATA_SECONDS
from gateway.console.rules.sign_in_attempt import VALID_MS
from gateway.console.sessions import RECHECK_SECONDS
from gateway.emulator import EmulatorServer
from gateway.settings import SettingsError
from tests.api.admin.api_client import Api, in_force
from tests.clients.environments import node_with_libraries
from tests.console.browsing import Browsing
from tests.console.hostile_provider import (
    CLIENT_ID,
    Forge,
    HostileProvider,
    honest,
    signed_by_another,
    signed_with_the_public_key,
    unsigned,
)
from tests.console.pages.test_try_it import sent
from tests.console.visiting import COOKIE, Visiting, console_settings
from tests.project.test_readme import free_port
from tests.support.serving import Overrides, Running, SteppedClock, make_key, serving

ROLES = {
    "admins": "admin",
    "accounting": "finance",
    "leads": "team:design",
    "painters": "member:design",
    "lost": "member:no-such-team",
}
NAMED = "Ask Ada in room 4"


def sso_settings(issuer: str, port: int = 0) -> Overrides:
    return {
        "server": {"port": port, "public_url": f"http://127.0.0.1:{port or 9}"},
        "sso": {
            "issuer": issuer,
            "client_id": CLIENT_ID,
            "client_secret": "s3cret/+ of the gateway",
            "roles": ROLES,
            "contact": NAMED,
            "name": "Example",
        },
        "accounts": {"end_users": "as-sent"},
    }


@pytest.fixture(scope="module")
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture(scope="module")
def hostile(clock: SteppedClock) -> Iterator[HostileProvider]:
    provider = HostileProvider(lambda: clock() // 1000)
    yield provider
    provider.close()


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory,
    emulator_server: EmulatorServer,
    hostile: HostileProvider,
    clock: SteppedClock,
) -> Iterator[Running]:
    """A gateway that trusts the hostile provider."""
    folder = tmp_path_factory.mktemp("hostile")
    settings = console_settings(folder, emulator_server, sso_settings(hostile.issuer))
    make_key(settings)
    with serving(settings, clock) as served:
        yield served


@pytest.fixture
def running(gateway: Running, hostile: HostileProvider, clock: SteppedClock) -> Running:
    """The gateway an hour after the last test; the provider is honest until told."""
    hostile.forge, hostile.document, hostile.moved = honest, {}, ""
    hostile.asked.clear()
    clock.step(METADATA_SECONDS + 1)
    return gateway


@contextmanager
def signed_in_person(served: Running, hostile: HostileProvider, *groups: str) -> Iterator[Visiting]:
    """Ada, who has these groups."""
    hostile.forge = lambda claims: honest({**claims, "groups": groups})
    with Visiting(served) as visiting:
        answer = visiting.get(hostile.sent_back(visiting))
        assert answer.status_code == 303, answer.text
        yield visiting


# ---- a real provider


@pytest.fixture(scope="module")
def real(
    tmp_path_factory: pytest.TempPathFactory, emulator_server: EmulatorServer
) -> Iterator[Running]:
    """A gateway with the npm package oidc-provider."""
    node, folder = node_with_libraries()
    at, port = free_port(), free_port()
    back = f"http://127.0.0.1:{port}/console/sso/back"
    command = [str(node), "oidc_provider.mjs", str(at), back]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as provider:
        assert provider.stdout
        try:
            assert any("ready" in line for line in provider.stdout)
            more = sso_settings(f"http://127.0.0.1:{at}", port)
            settings = console_settings(tmp_path_factory.mktemp("sso"), emulator_server, more)
            make_key(settings)
            with serving(settings) as served:
                yield served
        finally:
            provider.terminate()


@pytest.fixture
def served(real: Running) -> Running:
    """What `browse` opens."""
    return real


def through_the_provider(visiting: Visiting, login: str, *, next: str = "") -> httpx.Response:
    """Sign in on the provider's own pages; the answer of the gateway at the end."""
    answer = visiting.get("/console/sso", params={"next": next} if next else {})
    for _ in range(8):
        while answer.is_redirect:
            answer = visiting.get(answer.url.join(answer.headers["location"]))
            if answer.url.path == "/console/sso/back":
                return answer
        action = re.search(r'action="([^"]+)" method="post"', answer.text)
        assert action, answer.text
        prompt = re.search(r'name="prompt" value="(\w+)"', answer.text)
        form = {"prompt": prompt[1] if prompt else "", "login": login, "password": "any"}
        answer = visiting.post(str(answer.url.join(action[1])), data=form)
    raise AssertionError("the provider never sent the browser back")


@pytest.mark.parametrize(
    ("login", "role"),
    [("ada:admins", "admin"), ("flo:other,accounting", "finance"), ("lea:leads", "team of design"),
     ("max:painters", "member of design"), ("eve:painters,admins", "admin")],
)  # fmt: skip
def test_a_real_providers_people_get_the_roles_of_their_groups(
    real: Running, login: str, role: str
) -> None:
    with Visiting(real) as visiting:
        answer = through_the_provider(visiting, login, next="/console/requests")
        page = visiting.get("/console/requests").text

    assert (answer.status_code, answer.headers.get("location")) == (303, "/console/requests")
    assert f"{login.partition(':')[0]}@example.com" in page
    assert f'<span class="role">{role}</span>' in page


def test_whom_no_role_matches_is_told_whom_to_ask(real: Running) -> None:
    with Visiting(real) as visiting:
        answer = through_the_provider(visiting, "zoe:visitors")
        after = visiting.get("/console").status_code

    assert answer.status_code == 403
    assert "zoe@example.com, you have signed in, but no role here is yours" in answer.text
    assert NAMED in answer.text
    assert after == 303


def test_signing_out_ends_both_sessions(real: Running) -> None:
    with Visiting(real) as visiting:
        through_the_provider(visiting, "ada:admins")
        visiting.open("/console")
        out = visiting.get(visiting.submit("/console/sign-out").headers["location"])
        after = visiting.get("/console").headers["location"]
        there = re.search(r'href="(http[^"]+)">Sign out of Example too', out.text)
        assert there
        page = visiting.get(there[1].replace("&amp;", "&"))

    assert after.startswith("/console/sign-in")
    assert page.status_code == 200
    assert "Do you want to sign-out" in page.text


def test_in_a_browser_a_person_signs_in_and_out(real: Running, browse: Browsing) -> None:
    page = browse("/console/sign-in?next=/console/spend")
    provider = real.settings.sso.issuer
    browse.elsewhere.add(urlsplit(provider).netloc)
    page.route("https://fonts.googleapis.com/**", lambda route: route.abort())
    page.get_by_role("link", name="Sign in with Example").click()
    page.fill("input[name=login]", "flo:accounting")
    page.fill("input[name=password]", "any")
    page.get_by_role("button", name="Sign-in").click()
    page.get_by_role("button", name="Continue").click()
    page.wait_for_url("**/console/spend")

    assert page.inner_text(".who .name") == "flo@example.com"
    assert page.inner_text(".who .role") == "finance"
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("link", name="Sign out of Example too").click()
    assert page.url.startswith(provider)
    page.get_by_role("button", name="Yes, sign me out").click()
    page.wait_for_url("**/console/sign-in*")
    page.goto(f"{real.url}/console/spend")
    assert page.inner_text("h1") == "Sign in"


def test_a_replayed_code_is_refused(real: Running) -> None:
    with Visiting(real) as visiting:
        answer = through_the_provider(visiting, "ada:admins")
        again = visiting.get(str(answer.url))

    assert answer.status_code == 303
    assert again.status_code == 403


# ---- attacks


def changed(**claims: object) -> Forge:
    """An honest signature of claims that are not; None leaves one out."""

    def forge(honest_claims: dict[str, Any]) -> str:
        every = {**honest_claims, **claims}
        return honest({name: value for name, value in every.items() if value is not None})

    return forge


def expired(claims: dict[str, Any]) -> str:
    return honest({**claims, "exp": claims["iat"] - 61, "iat": claims["iat"] - 400})


@pytest.mark.parametrize(
    "forge",
    [
        pytest.param(unsigned, id="alg none"),
        pytest.param(signed_with_the_public_key, id="HS256 with the public key"),
        pytest.param(signed_by_another, id="another's key"),
        pytest.param(expired, id="expired"),
        pytest.param(changed(nonce="of another"), id="wrong nonce"),
        pytest.param(changed(nonce=None), id="no nonce"),
        pytest.param(changed(aud="another"), id="wrong audience"),
        pytest.param(changed(aud=["gateway", "another"]), id="audience of several"),
        pytest.param(changed(azp="another"), id="issued to another"),
        pytest.param(changed(iss="https://evil.example"), id="wrong issuer"),
        pytest.param(changed(exp=None), id="no expiry"),
        pytest.param(changed(sub=None), id="nobody"),
        pytest.param(lambda _: "no.token.at.all", id="no token"),
    ],
)
def test_a_token_that_is_not_as_it_must_be_signs_nobody_in(
    running: Running, hostile: HostileProvider, forge: Forge
) -> None:
    with Visiting(running) as visiting:
        hostile.forge = forge
        answer = visiting.get(hostile.sent_back(visiting))
        after = visiting.get("/console").status_code
        hostile.forge = honest
        control = visiting.get(hostile.sent_back(visiting)).status_code

    assert answer.status_code == 403
    assert "its ID token is not valid" in answer.text
    assert (after, control) == (303, 303)


@pytest.mark.parametrize(
    ("field", "value"),
    [("state", ""), ("state", "WzAsICIvIl0=.forged"), ("iss", "https://evil.example"),
     ("error", "access_denied"), ("code", "")],
)  # fmt: skip
def test_an_answer_with_another_state_or_issuer_is_refused(
    running: Running, hostile: HostileProvider, field: str, value: str
) -> None:
    with Visiting(running) as visiting:
        answer = visiting.get(hostile.sent_back(visiting, **{field: value}))

        assert answer.status_code == 403
        assert visiting.get("/console").status_code == 303


def test_an_answer_is_of_no_use_in_another_browser_or_later(
    running: Running, hostile: HostileProvider, clock: SteppedClock
) -> None:
    """Else an attacker could sign a victim in as himself, or use what he overheard."""
    with Visiting(running) as attacker, Visiting(running) as victim:
        url = hostile.sent_back(attacker)
        victim.get("/console/sign-in")
        elsewhere = victim.get(url)
        clock.step(VALID_MS / 1000 + 1)
        late = attacker.get(url)

    assert (elsewhere.status_code, late.status_code) == (403, 403)
    assert "was not begun in this browser" in elsewhere.text
    assert "/token" not in hostile.asked


def test_the_cookie_is_renewed_so_that_a_planted_one_is_worth_nothing(
    running: Running, hostile: HostileProvider
) -> None:
    with Visiting(running) as attacker, Visiting(running) as victim:
        attacker.get("/console/sign-in")
        victim.cookies.set(COOKIE, attacker.cookies[COOKIE])
        victim.get(hostile.sent_back(victim))

        assert attacker.get("/console").status_code == 303


@pytest.mark.parametrize("path", ["//evil.example", "https://evil.example", "/\\evil.example"])
def test_sign_in_leads_to_no_other_site(
    running: Running, hostile: HostileProvider, path: str
) -> None:
    with Visiting(running) as visiting:
        answer = visiting.get(hostile.sent_back(visiting, next=path))

    assert answer.headers["location"] == "/console"


@pytest.mark.parametrize(
    ("document", "said"),
    [({"issuer": "https://evil.example"}, "calls itself"),
     ({"token_endpoint": "http://169.254.169.254/latest"}, "no https URL"),
     ({"token_endpoint": "https://169.254.169.254/latest"}, "neither a host"),
     ({"token_endpoint": "https://127.1/"}, "neither a host"),
     ({"token_endpoint": "https://localhost/"}, "DNSError"),
     ({"jwks_uri": "file:///etc/passwd"}, "no https URL"),
     ({"authorization_endpoint": "javascript:alert(1)"}, "no https URL")],
)  # fmt: skip
def test_a_provider_leads_nowhere_into_the_network(
    running: Running, hostile: HostileProvider, document: dict[str, str], said: str
) -> None:
    hostile.document = document
    with Visiting(running) as visiting:
        answer = visiting.get("/console/sso")
        if answer.status_code == 303:
            answer = visiting.get(hostile.sent_back(visiting))

    assert answer.status_code == 403
    assert said in answer.text


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/token", "/keys"])
def test_a_redirect_of_a_provider_is_not_followed(
    running: Running, hostile: HostileProvider, path: str
) -> None:
    hostile.moved = path
    with Visiting(running) as visiting:
        answer = visiting.get("/console/sso")
        if answer.status_code == 303:
            answer = visiting.get(hostile.sent_back(visiting))

    assert answer.status_code == 403
    assert "answered 307" in answer.text
    assert "/inside" not in hostile.asked


@pytest.mark.parametrize(
    "issuer",
    ["http://169.254.169.254/latest", "http://login.example.com", "file:///etc/passwd",
     "ftp://login.example.com", "https://", "https://a.example?x=1", "http://127.evil.example"],
)  # fmt: skip
def test_an_issuer_is_an_https_url_or_on_loopback(
    tmp_path: Path, emulator_server: EmulatorServer, issuer: str
) -> None:
    with pytest.raises(SettingsError, match="issuer"):
        console_settings(tmp_path, emulator_server, sso_settings(issuer))


# ---- what a person may, and for how long


def test_roles_are_asked_for_again_every_hour(
    running: Running, hostile: HostileProvider, clock: SteppedClock
) -> None:
    with signed_in_person(running, hostile, "admins") as visiting:
        clock.step(RECHECK_SECONDS - 60)
        before = visiting.get("/console/spend").status_code
        clock.step(61)
        again = visiting.get("/console/spend").headers["location"]
        hostile.forge = lambda claims: honest({**claims, "groups": ["accounting"]})
        back = visiting.get(hostile.sent_back(visiting, next="/console/spend"))
        page = visiting.get("/console/spend").text

    assert (before, again) == (200, "/console/sso?next=%2Fconsole%2Fspend")
    assert back.headers["location"] == "/console/spend"
    assert '<span class="role">finance</span>' in page


def test_a_member_sees_its_own_requests_alone_and_its_key_pays(
    running: Running, hostile: HostileProvider
) -> None:
    root = Api(running)
    running.edit("grey")
    with signed_in_person(running, hostile, "painters") as visiting:
        statuses = {
            path: visiting.get(f"/console{path}").status_code
            for path in ("", "/requests", "/spend", "/teams", "/budgets", "/operations")
        }
        listed = visiting.get("/console/requests").text
        overview = visiting.get("/console").text
    keys = {key["name"] for key in root.get("/keys", team="design")["data"]}

    assert statuses == {
        "": 200, "/requests": 200, "/spend": 403, "/teams": 403, "/budgets": 403,
        "/operations": 403,
    }  # fmt: skip
    assert "No request has this." in listed
    assert "design/console" in overview
    assert keys == {"first", "console"}


def test_a_members_edit_is_paid_by_the_key_console_for_the_person_and_limited_with_it(
    running: Running, hostile: HostileProvider
) -> None:
    root = Api(running)
    with signed_in_person(running, hostile, "painters") as visiting:
        visiting.open("/console/try")
        bought = sent(visiting, prompt="bought by a member")
        again = sent(visiting, prompt="bought by a member")
        request_id = re.findall(r"req_\w+", bought.text)[0]
        in_force(lambda: request_id in visiting.get("/console/requests").text)
        own = visiting.get(f"/console/requests/{request_id}")
        (key,) = [
            key for key in root.get("/keys", team="design")["data"] if key["name"] == "console"
        ]
        (row,) = [
            row for row in root.get("/ledger", team="design")["data"] if row["key"] == key["id"]
        ]
        root.patch(f"/keys/{key['id']}", budget_usd="0.01")
        tries = itertools.count()  # one that was bought before the limit is in force is a hit
        in_force(lambda: sent(visiting, prompt=f"too many {next(tries)}").status_code == 429)
        refused = sent(visiting, prompt="one too many")
        with signed_in_person(running, hostile, "admins") as admin:
            asked = admin.get("/console/requests?outcome=miss&key=design/console").text
        others = running.edit("of another person").headers["x-request-id"]
        in_force(lambda: root.ask("GET", f"/requests/{others}").status_code == 200)
        hidden = visiting.get(f"/console/requests/{others}")

    assert "MISS</strong> · cost $0.01" in bought.text
    assert "HIT</strong> · cost $0.00" in again.text
    assert (row["end_user"], row["cost_usd"]) == ("person:ada@example.com", "0.01")
    assert key["created_by"] == "person:ada@example.com"
    assert "person:ada@example.com" in own.text
    assert request_id in asked
    assert "the key" in refused.text
    assert hidden.status_code == 404


def test_a_role_of_a_team_that_is_none_says_so(running: Running, hostile: HostileProvider) -> None:
    hostile.forge = lambda claims: honest({**claims, "groups": ["lost"]})
    with Visiting(running) as visiting:
        answer = visiting.get(hostile.sent_back(visiting))

    assert answer.status_code == 403
    assert "no-such-team" in answer.text
    assert NAMED in answer.text


def test_the_audit_has_the_persons_name(running: Running, hostile: HostileProvider) -> None:
    with signed_in_person(running, hostile, "admins") as visiting:
        visiting.open("/console/teams")
        visiting.submit("/console/teams", name="new", budget_usd="1")
    changes = Api(running).every("/audit")

    assert ("person:ada@example.com", "team.create") in [
        (each["actor"], each["action"]) for each in changes
    ]


@pytest.mark.parametrize(
    ("claims", "name"),
    [({}, "ada@example.com"), ({"email_verified": False}, "1001"), ({"email": None}, "1001"),
     ({"email": "a\nb"}, "1001"), ({"email": '"><script>'}, "&#34;&gt;&lt;script&gt;")],
)  # fmt: skip
def test_an_address_that_is_not_verified_names_nobody(
    running: Running, hostile: HostileProvider, claims: dict[str, object], name: str
) -> None:
    with Visiting(running) as visiting:
        hostile.forge = changed(**claims)
        visiting.get(hostile.sent_back(visiting))
        page = visiting.get("/console").text

    assert f'<span class="name" title="{name}">' in page


def test_the_sign_in_page_offers_it(running: Running) -> None:
    with Visiting(running) as visiting:
        text = visiting.get("/console/sign-in?next=/console/spend").text
        away = visiting.get("/console/sso")

    query = parse_qs(urlsplit(away.headers["location"]).query)
    assert "Sign in with Example" in text
    assert 'href="/console/sso?next=/console/spend"' in text
    assert query["redirect_uri"] == ["http://127.0.0.1:9/console/sso/back"]
    assert query["code_challenge_method"] == ["S256"]
