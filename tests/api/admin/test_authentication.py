"""The way in: off without a root token, and what is wrong with a request said by name."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.emulator import EmulatorServer
from tests.api.admin.api_client import ROOT_TOKEN, Api, admin_settings, fresh
from tests.end_to_end.test_refusals import check_refused
from tests.support.serving import Running, serving, settings_for


@pytest.mark.parametrize("sent", [None, "", ROOT_TOKEN])
@pytest.mark.parametrize("path", ["/teams", "", "/nowhere", "/pause"])
def test_without_a_root_token_there_is_no_admin_api_and_the_answer_says_how_to_have_one(
    gateway: Running, path: str, sent: str | None
) -> None:
    error = check_refused(Api(gateway, sent).ask("POST", path, json={}), 404, "not_found")

    assert "GATEWAY_ADMIN_TOKEN" in error["message"]


def test_an_empty_root_token_opens_nothing(tmp_path: Path, emulator: EmulatorServer) -> None:
    settings = settings_for(tmp_path, emulator, {"admin": {"token": ""}})
    with serving(settings) as gateway, gateway.client(None) as client:
        for header in ("Bearer", "", "Bearer x"):
            answer = client.get("/admin/v1/teams", headers={"authorization": header})
            check_refused(answer, 404, "not_found")


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer  x", f"Basic {ROOT_TOKEN}", ROOT_TOKEN, "Bearer root-0123456789abcdeg",
     f"Bearer {ROOT_TOKEN}x", f"Bearer {ROOT_TOKEN[:-1]}", "Bearer r\xf6\xf6t"],
)  # fmt: skip
def test_what_is_not_quite_a_token_opens_nothing(served: Running, header: str) -> None:
    with served.client(None) as client:
        answer = client.get("/admin/v1/teams", headers={b"authorization": header.encode("latin-1")})

    check_refused(answer, 401, "invalid_api_key")


@pytest.fixture
def guarded(tmp_path: Path, emulator: EmulatorServer) -> Iterator[Running]:
    """A gateway at which nobody has guessed yet."""
    with serving(admin_settings(tmp_path, emulator)) as running:
        yield running


def guess(served: Running, times: int = 32) -> list[httpx.Response]:
    with served.client("gwt-a-guess-0123456789") as client:
        return [client.get("/admin/v1/teams") for _ in range(times)]


def test_who_guesses_at_admin_tokens_is_slowed_down(guarded: Running) -> None:
    answers = guess(guarded)

    assert [answer.status_code for answer in answers] == [401] * 30 + [429] * 2
    check_refused(answers[-1], 429, "too_many_failures")
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60


def test_a_guesser_who_is_slowed_down_is_not_told_that_a_guess_was_right(guarded: Running) -> None:
    guess(guarded, 30)

    check_refused(Api(guarded).ask("GET", "/teams"), 429, "too_many_failures")


def test_tokens_that_have_opened_from_there_go_on_while_somebody_guesses(guarded: Running) -> None:
    root = Api(guarded)
    used, unused = root.holder("finance"), root.holder("finance")
    used.get("/teams")
    guess(guarded, 30)

    assert root.ask("GET", "/teams").status_code == 200
    assert used.ask("GET", "/teams").status_code == 200
    check_refused(unused.ask("GET", "/teams"), 429, "too_many_failures")


def test_a_token_that_was_revoked_is_slowed_down_like_any_other(guarded: Running) -> None:
    root = Api(guarded)
    made = root.post("/tokens", name=fresh("token"), role="admin")
    holder = Api(guarded, made["secret"])
    holder.get("/teams")
    root.delete(f"/tokens/{made['id']}")
    guess(guarded, 29)

    check_refused(holder.ask("GET", "/teams"), 401, "invalid_api_key")
    check_refused(holder.ask("GET", "/teams"), 429, "too_many_failures")


def test_who_is_slowed_down_costs_no_read_of_the_state(guarded: Running, tmp_path: Path) -> None:
    guess(guarded, 30)
    with sqlite3.connect(tmp_path / "gateway.db") as state:
        state.execute("ALTER TABLE tokens RENAME TO elsewhere")
    (answer,) = guess(guarded, 1)
    with sqlite3.connect(tmp_path / "gateway.db") as state:
        state.execute("ALTER TABLE elsewhere RENAME TO tokens")

    check_refused(answer, 429, "too_many_failures")


def test_a_wrong_admin_token_is_in_the_journal_without_the_token(guarded: Running) -> None:
    (answer,) = guess(guarded, 1)
    lines = [json.loads(line) for line in guarded.log.getvalue().splitlines()]
    (line,) = [each for each in lines if each["event"] == "admin token refused"]

    assert (line["level"], line["address"]) == ("warning", "127.0.0.1")
    assert line["request_id"] == answer.headers["x-request-id"]
    assert "guess" not in json.dumps(lines)


def test_who_sends_no_token_at_all_guesses_nothing(guarded: Running) -> None:
    nobody = Api(guarded, None)

    assert {nobody.ask("GET", "/teams").status_code for _ in range(35)} == {401}
    assert "admin token refused" not in guarded.log.getvalue()
    assert Api(guarded).ask("GET", "/teams").status_code == 200


def test_a_root_token_may_have_any_letters(tmp_path: Path, emulator: EmulatorServer) -> None:
    settings = settings_for(tmp_path, emulator, {"admin": {"token": "schlüssel-0123"}})
    with serving(settings) as gateway, gateway.client(None) as client:
        header = {b"authorization": "Bearer schlüssel-0123".encode()}
        assert client.get("/admin/v1/organisation", headers=header).status_code == 200


@pytest.mark.parametrize(
    "path", ["", "/", "/nowhere", "/teams//", "/teams/a/b", "/keys/a/b/rotate"]
)
def test_a_path_that_is_not_there_is_a_404_in_the_envelope(root: Api, path: str) -> None:
    error = check_refused(root.ask("GET", path), 404, "not_found")

    assert "/organisation" in error["message"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("DELETE", "/teams", "GET, POST, HEAD"), ("PUT", "/keys/x", "GET, PATCH, DELETE, HEAD"),
     ("GET", "/pause", "POST")],
)  # fmt: skip
def test_a_method_that_is_not_taken_names_those_that_are(
    root: Api, method: str, path: str, allowed: str
) -> None:
    answer = root.ask(method, path)

    check_refused(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == allowed


def test_head_is_get_without_a_body(root: Api) -> None:
    answer = root.ask("HEAD", "/organisation")

    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "invalid_json"),
        (b"[]", "invalid_json"),
        (b'"text"', "invalid_json"),
        (b"null", "invalid_json"),
        (b"\xff\xfe", "invalid_json"),
        (b'{"budget_usd": NaN}', "invalid_json"),
        (b'{"budget_usd": Infinity}', "invalid_json"),
        (b'{"budget_usd": 1' + b"0" * 5000 + b"}", "invalid_json"),
        (b"[" * 200_000, "invalid_json"),
        (b'{"budget_usd": 1, "budget_usd": 2}', "duplicate_field"),
        (b'{"tags": {"a": "1", "a": "2"}}', "duplicate_field"),
        (b'{"a": "' + b"x" * 2**20 + b'"}', "body_too_large"),
        (b'{"budgetusd": 1}', "invalid_field"),
        (b'{"reason": 7}', "invalid_field"),
        (b'{"reason": 0}', "invalid_field"),
        (b'{"reason": {}}', "invalid_field"),
        (b'{"reason": "a\\u0007b"}', "invalid_field"),
        (b'{"owner": "a\\nb"}', "invalid_field"),
        (b'{"owner": "\\ud800"}', "invalid_field"),
        (b'{"owner": "\\u0000"}', "invalid_field"),
        (b'{"budget_usd": -1}', "invalid_field"),
        (b'{"budget_usd": 1e400}', "invalid_field"),
        (b'{"budget_usd": "1,5"}', "invalid_field"),
        (b'{"budget_usd": true}', "invalid_field"),
        (b'{"requests_per_minute": 1.5}', "invalid_field"),
        (b'{"models": "a,,b"}', "invalid_field"),
    ],
)  # fmt: skip
def test_a_document_that_can_not_be_is_a_4xx_and_changes_nothing(
    root: Api, body: bytes, code: str
) -> None:
    team = root.new_team(budget_usd="5")
    before = root.get(f"/teams/{team}")

    answer = root.ask("PATCH", f"/teams/{team}", content=body)
    assert answer.json()["error"]["code"] == code, answer.text
    assert answer.status_code == (413 if code == "body_too_large" else 400)
    assert root.get(f"/teams/{team}") == before


def test_a_body_that_never_says_its_length_is_bounded_too(root: Api) -> None:
    def endless() -> Any:
        for _ in range(40):
            yield b" " * 2**16

    check_refused(root.ask("POST", "/teams", content=endless()), 413, "body_too_large")


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/teams?limit=0", "limit"),
        ("/teams?limit=1001", "limit"),
        ("/teams?limit=ten", "limit"),
        ("/teams?limit=٣", "limit"),
        ("/teams?archived=maybe", "archived"),
        ("/teams?archive=true", "archive"),
        ("/teams?after=%00", "after"),
        ("/audit?after=x", "after"),
        ("/audit?since=yesterday", "since"),
        ("/usage?from=2026-13-01", "from"),
        ("/usage?from=20261101", "from"),
        ("/usage?from=2026-11-02&to=2026-11-01", "from"),
        ("/usage?by=colour", "by"),
        ("/ledger?after=nothing", "after"),
        ("/ledger?from=2026-11-02&to=2026-11-03&after=2026-11-01/x", "after"),
        ("/organisation?limit=1", "limit"),
    ],
)
def test_a_query_that_can_not_be_names_its_parameter(root: Api, path: str, param: str) -> None:
    check_refused(root.ask("GET", path), 400, "invalid_field", param=param)


def test_a_parameter_given_twice_is_refused(root: Api) -> None:
    check_refused(root.ask("GET", "/teams?limit=1&limit=2"), 400, "duplicate_field")


def test_a_query_without_end_is_refused(root: Api) -> None:
    check_refused(root.ask("GET", "/teams?" + "limit=1&" * 500), 400, "invalid_field")


def test_an_unknown_name_names_the_nearest(root: Api) -> None:
    query = check_refused(root.ask("GET", "/audit?sinse=2026-11-01"), 400, "invalid_field")
    term = check_refused(
        root.ask("PATCH", "/organisation", json={"budget_used": 1}), 400, "invalid_field"
    )
    field = check_refused(
        root.ask("POST", "/tokens", json={"name": "a", "rolle": "admin"}), 400, "invalid_field"
    )

    assert "Did you mean 'since'?" in query["message"]
    assert "Did you mean 'budget_usd'?" in term["message"]
    assert "Did you mean 'role'?" in field["message"]


@pytest.mark.parametrize(
    ("path", "document", "param"),
    [
        ("/teams", {}, "name"),
        ("/keys", {"name": "a"}, "team"),
        ("/keys", {"team": None, "name": "a"}, "team"),
        ("/tokens", {"name": "a"}, "role"),
        ("/ledger/corrections", {"request_id": "req_1"}, "cost_usd"),
        ("/ledger/corrections", {"cost_usd": "1"}, "request_id"),
    ],
)
def test_what_is_missing_is_named(root: Api, path: str, document: object, param: str) -> None:
    check_refused(root.ask("POST", path, json=document), 400, "missing_field", param=param)


def test_an_unreadable_state_is_a_503_that_may_be_tried_again(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    settings = admin_settings(tmp_path, emulator)
    with serving(settings) as gateway:
        with sqlite3.connect(tmp_path / "gateway.db") as state:
            state.execute("ALTER TABLE accounts RENAME TO elsewhere")
        answer = Api(gateway).ask("GET", "/teams")
        with sqlite3.connect(tmp_path / "gateway.db") as state:
            state.execute("ALTER TABLE elsewhere RENAME TO accounts")

    check_refused(answer, 503, "state_unavailable")
    assert answer.headers["x-should-retry"] == "true"


def test_answers_are_kept_by_no_cache_on_the_way_and_tokens_by_nobody(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    with serving(admin_settings(tmp_path, emulator)) as gateway:
        root = Api(gateway)
        team = root.new_team()
        answers: list[httpx.Response] = [
            root.ask("POST", "/keys", json={"team": team, "name": "first"}),
            root.ask("POST", "/tokens", json={"name": fresh("token"), "role": "finance"}),
        ]
        listed = json.dumps([root.get("/keys"), root.get("/tokens"), root.get("/audit")])
        log = gateway.log.getvalue()
    with sqlite3.connect(tmp_path / "gateway.db") as state:
        written = "\n".join(state.iterdump())

    for answer in answers:
        secret = answer.json()["secret"]
        assert answer.headers["cache-control"] == "no-store"
        assert secret not in listed
        assert secret not in log
        assert secret not in written
    assert ROOT_TOKEN not in log + written
