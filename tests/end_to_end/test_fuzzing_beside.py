"""The entrances beside uploads: console forms, statements, links, keys, CORS."""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.accounts.credentials import hash_secret
from gateway.api.admin.inputs import ReconcileQuery
from gateway.console.page_table import PAGES
from gateway.emulator import EmulatorServer
from tests.api.admin.api_client import ROOT_TOKEN, Api
from tests.console.visiting import COOKIE, Visiting
from tests.end_to_end.test_fuzzing import HANG_SECONDS, QUIET, Growth
from tests.support.serving import KEY, GatewayProcess, make_key, settings_for, tables_of

ORIGIN = "https://app.example"
LEFT_OUT = ("/console/sign-in", "/console/sign-out", "/console/sso", "/console/sso/back")
"""A session that ends would end the test; guesses have tests of their own."""
FORMS = [route for route in PAGES if not route.endswith(LEFT_OUT)]
WORDS = st.sampled_from(
    [
        "design", "other", "first", "organisation", "design/first", "month", "team,day,user",
        "tag:x", "paid_by", "2026-11-01", "2026-11", "0", "-1", "1e999", "9" * 400, "0.04",
        "=1+1",
        "../../etc/passwd", "'; DROP TABLE audit; --", "<script>alert(1)</script>", "\0",
        "\r\nX: y",
        "{{7*7}}", "%00", "\u202e", "\ud7ff", "x" * 5_000, "true", "on", "all", "bat_0", "prv_0",
        "request_id=id", "cost=amount", "EUR=1.08", "service=*" + "*a" * 40, "us", "german",
    ]
)  # fmt: skip
TEXTS = WORDS | st.text(max_size=30)
NAMES = st.sampled_from(
    [
        "by", "tag", "team", "from", "to", "key", "end_user", "model", "outcome", "cost_usd",
        "after",
        "limit", "id", "name", "usd", "until", "reason", "level", "budget", "request", "subject",
        "page", "order", "proof", "download", "next", "variant", "containing", "prompt", "period",
        "confirm", "packed", "column", "where", "rate", "numbers", "dates", "encoding", "upstream",
        "title_lines", "edge", "allow_change", "duplicates", "granularity", "format", "separator",
        "budget_usd", "models", "tags", "expires_at", "action", "actor", "price_usd", "revoked",
    ]
)  # fmt: skip
FIELDS = st.dictionaries(NAMES, TEXTS, max_size=8)
OPTIONS = st.dictionaries(st.sampled_from(sorted(ReconcileQuery.model_fields)), TEXTS, max_size=4)
LINES = st.lists(
    st.lists(
        st.sampled_from(
            ["req_1", "2026-11-25T12:00:00Z", "0.04", "-0.04", "$1,234.50", "(3.20)", "1.234,50 €",
             "1e999", "NaN", "", '"', "\0", "(" + " " * 90, "9" * 99, "total", "x" * 300]
        )
        | st.text(max_size=12),
        max_size=5,
    ).map(",".join),
    max_size=12,
).map("\n".join)  # fmt: skip
STATEMENTS = st.one_of(
    LINES.map(lambda lines: f"request_id,time,cost_usd\n{lines}".encode("utf-8", "surrogatepass")),
    st.binary(max_size=400),
    LINES.map(lambda lines: b"[" + lines.encode("utf-8", "surrogatepass")),
)
HEADER = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=60)


@dataclass(frozen=True)
class Sent:
    """A request as it goes out."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


@st.composite
def pages_of(draw: st.DrawFn, cookies: tuple[str, ...]) -> Sent:
    method, path = draw(st.sampled_from(FORMS)).split()
    names = iter(draw(st.lists(TEXTS, min_size=4, max_size=4)))
    path = re.sub(r"\{[^}]*\}", lambda _: quote(next(names)[:200] or "x", safe=""), path)
    cookie = draw(st.sampled_from(cookies))
    headers = {"cookie": f"{COOKIE}={cookie}"}
    fields = draw(FIELDS)
    if method == "GET":
        return Sent(method, f"{path}?{_encoded(fields)}", headers)
    fields = {"csrf": hash_secret(f"csrf {cookie}"), **fields}
    if draw(st.integers(0, 3)):
        kind, body = "application/x-www-form-urlencoded", _encoded(fields).encode()
    else:
        kind, body = "multipart/form-data; boundary=b", _multipart(fields, draw(STATEMENTS))
    return Sent(method, path, {**headers, "content-type": kind}, body)


@dataclass(frozen=True)
class Entrances:
    """A gateway, and who may come in by its entrances."""

    gateway: GatewayProcess
    cookies: tuple[str, ...]
    link: str
    """The path and query of a signed link."""
    finance: str

    def requests(self) -> st.SearchStrategy[Sent]:
        return st.one_of(self.pages(), self.statements(), self.links(), keys(), preflights())

    def pages(self) -> st.SearchStrategy[Sent]:
        return pages_of(self.cookies)

    def statements(self) -> st.SearchStrategy[Sent]:
        path, headers = "/admin/v1/ledger/reconcile", {"authorization": f"Bearer {self.finance}"}
        return st.builds(
            lambda options, body: Sent("POST", f"{path}?{_encoded(options)}", headers, body),
            OPTIONS,
            STATEMENTS,
        )

    def links(self) -> st.SearchStrategy[Sent]:
        """The link with some of its characters changed."""

        def changed(at: int, put: str, drop: int, span: str) -> Sent:
            path = self.link[:at] + quote(put, safe="&=.~") + self.link[at + drop :]
            return Sent("GET", path if path.startswith("/") else f"/{path}", {"range": span})

        spans = st.sampled_from(
            ["", "bytes=0-1", "bytes=9-", "bytes=-0", "bytes=" + "9" * 300 + "-"]
        )
        return st.builds(
            changed, st.integers(0, len(self.link)), st.text(max_size=4), st.integers(0, 8), spans
        )


def keys() -> st.SearchStrategy[Sent]:
    """Keys in either header, in both, in another scheme, or none."""
    given = st.sampled_from([KEY, KEY.upper(), f" {KEY} ", "", f"{KEY},{KEY}"]) | HEADER
    schemes = st.sampled_from(["Bearer ", "bearer  ", "Basic ", "", "Bearer\t"])
    paths = st.sampled_from(
        ["/v1/key", "/v1/models", "/v1/requests/req_1", "/v1/requests/x/result"]
    )
    return st.builds(
        lambda path, scheme, one, other: Sent(
            "GET", path, {"authorization": scheme + one, "api-key": other}
        ),
        *(paths, schemes, given, given),
    )


def preflights() -> st.SearchStrategy[Sent]:
    origins = st.sampled_from([ORIGIN, "null", f"{ORIGIN}.evil", "*", ORIGIN.upper(), ""]) | HEADER
    paths = st.sampled_from(["/v1/key", "/v1/images/edits", "/admin/v1/teams", "/console", "/v1/"])
    return st.builds(
        lambda method, path, origin, wanted: Sent(
            method,
            path,
            {
                "origin": origin,
                "access-control-request-method": "POST",
                "access-control-request-headers": wanted,
            },
        ),
        *(st.sampled_from(["OPTIONS", "GET", "HEAD"]), paths, origins, HEADER),
    )


def _encoded(fields: Mapping[str, str]) -> str:
    return urlencode(fields, errors="surrogatepass")


def _multipart(fields: Mapping[str, str], file: bytes) -> bytes:
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode(
            "utf-8", "surrogatepass"
        )
        for name, value in fields.items()
    ]
    head = b'--b\r\nContent-Disposition: form-data; name="statement"; filename="a.csv"\r\n\r\n'
    return b"".join([*parts, head, file, b"\r\n--b--\r\n"])


@pytest.fixture(scope="module")
def entrances(
    tmp_path_factory: pytest.TempPathFactory, emulator_server: EmulatorServer
) -> Iterator[Entrances]:
    folder = tmp_path_factory.mktemp("entrances")
    more: dict[str, Any] = {
        "server": {"cors_origins": [ORIGIN]},
        "admin": {"token": ROOT_TOKEN},
        "console": {"gallery": True, "keep_inputs": "all"},
        "log": {"format": "json"},
    }
    given = settings_for(folder, emulator_server, more)
    make_key(given)
    make_key(given, team="other", secret=f"{KEY}-other")
    with GatewayProcess(tables_of(folder, emulator_server, more), folder) as gateway:
        root = Api(gateway)
        tokens = [root.post("/tokens", name=role, role=role)["secret"] for role in ROLES]
        url = gateway.edit(response_format="url").json()["data"][0]["url"]
        cookies = []
        for secret in (KEY, *tokens):
            with Visiting(gateway) as visiting:
                assert visiting.sign_in(secret).status_code == 303
                cookies.append(visiting.cookies[COOKIE])
        yield Entrances(gateway, tuple(cookies), url.removeprefix(gateway.url), tokens[0])


ROLES = ("finance", "team:other")


def fuzz(entrances: Entrances, cases: int) -> None:
    gateway = entrances.gateway
    growth = Growth(gateway, cases // 5)
    host, port = gateway.url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=HANG_SECONDS)

    @settings(max_examples=cases, deadline=None, suppress_health_check=QUIET)
    @given(entrances.requests())
    def whatever(sent: Sent) -> None:
        growth.case()
        connection.putrequest(sent.method, sent.path, skip_accept_encoding=True)
        for name, value in sent.headers.items():
            connection.putheader(name, value.encode("latin-1"))
        if sent.body or sent.method == "POST":
            connection.putheader("content-length", str(len(sent.body)))
        connection.endheaders(sent.body)
        with connection.getresponse() as answer:
            body = answer.read()
            allowed = answer.getheader("access-control-allow-origin")
            is_page = answer.getheader("content-type", "").startswith("text/html")
        assert answer.status < 500, (answer.status, body[:300])
        assert allowed in (None, ORIGIN)
        assert not is_page or b"<script>alert" not in body
        for name in ("x", "X"):
            assert answer.getheader(name) is None

    try:
        whatever()
    finally:
        connection.close()
    growth.check()


def test_whatever_comes_is_answered_by_no_more_than_a_refusal(
    entrances: Entrances, emulator: EmulatorServer
) -> None:
    fuzz(entrances, 150)


@pytest.mark.long
def test_a_hundred_thousand_times_whatever_comes(
    entrances: Entrances, emulator: EmulatorServer
) -> None:
    fuzz(entrances, 100_000)
