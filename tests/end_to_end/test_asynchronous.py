"""Asynchronous requests over real sockets: accepted at once, asked for later, from any process."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.cache.kept_answers import KEPT_MS
from gateway.emulator import EmulatorServer
from gateway.ledger.tables.verify import verify
from tests.api.admin.api_client import Api, admin_settings
from tests.end_to_end.test_refusals import check_refused
from tests.support.engines import fresh_schema
from tests.support.serving import (
    GatewayProcess,
    Overrides,
    Running,
    Served,
    SteppedClock,
    in_state,
    make_key,
    serving,
    settings_for,
    tables_of,
)

ASYNC = {"prefer": "respond-async"}
OTHER_KEY = "sk-test-another-0123456789"


def result_of(served: Served, accepted: httpx.Response, key: str | None = None) -> httpx.Response:
    """Asks until it is no longer running."""
    with served.client(key) if key else served.client() as client:
        for _ in range(200):
            answer = client.get(f"{accepted.headers['location']}/result")
            if answer.status_code != 202:
                return answer
            assert int(answer.headers["retry-after"]) > 0
            time.sleep(0.05)
    raise AssertionError("it runs on and on")


def status_of(served: Served, accepted: httpx.Response) -> dict[str, Any]:
    with served.client() as client:
        found: dict[str, Any] = client.get(accepted.headers["location"]).json()
    return found


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def gateway(tmp_path: Path, emulator: EmulatorServer, clock: SteppedClock) -> Iterator[Running]:
    settings = settings_for(tmp_path, emulator)
    make_key(settings)
    make_key(settings, name="second", secret=OTHER_KEY)
    with serving(settings, clock) as served:
        yield served


def test_an_answer_is_accepted_at_once_and_had_later_by_its_key_alone(
    gateway: Running, emulator: EmulatorServer, clock: SteppedClock
) -> None:
    emulator.order({"hang": True})
    accepted = gateway.edit("later", headers=ASYNC)
    assert accepted.status_code == 202
    assert accepted.headers["preference-applied"] == "respond-async"
    assert int(accepted.headers["retry-after"]) > 0
    request_id = accepted.headers["x-request-id"]
    assert accepted.headers["location"] == f"/v1/requests/{request_id}"
    assert accepted.json()["result"] == f"/v1/requests/{request_id}/result"
    assert status_of(gateway, accepted)["state"] == "running"
    _wait_for(emulator.release)

    answer = result_of(gateway, accepted)
    assert answer.status_code == 200
    assert answer.json()["data"][0]["b64_json"]
    assert float(answer.headers["x-gateway-cost-usd"]) > 0
    assert answer.headers["x-gateway-cache"] == "MISS"
    assert status_of(gateway, accepted)["status"] == 200

    check_refused(result_of(gateway, accepted, OTHER_KEY), 404, "not_found")
    hit = gateway.edit("later", headers=ASYNC)
    assert (hit.status_code, hit.headers["x-gateway-cache"]) == (200, "HIT")
    assert "preference-applied" not in hit.headers
    assert result_of(gateway, accepted).content == answer.content

    clock.step(KEPT_MS / 1000)
    _wait_for(lambda: gateway.edit("later").status_code == 200)  # keys are read again
    check_refused(result_of(gateway, accepted), 410, "answer_gone")


def test_an_unknown_request_has_no_answer(gateway: Running) -> None:
    with gateway.client() as client:
        answer = client.get(f"/v1/requests/req_{32 * '0'}/result")
    check_refused(answer, 404, "not_found")


def test_the_answer_is_kept_whatever_happens_to_the_cache(gateway: Running) -> None:
    accepted = gateway.edit("kept", headers=ASYNC)
    answer = result_of(gateway, accepted)
    results = gateway.settings.cache.folder
    for file in results.glob("[0-9a-f][0-9a-f]/*.val"):
        file.unlink()
    assert gateway.edit("kept").headers["x-gateway-cache"] == "MISS"
    assert result_of(gateway, accepted).content == answer.content


def test_a_refusal_of_the_upstream_is_the_answer(
    gateway: Running, emulator: EmulatorServer
) -> None:
    emulator.order({"status": 400})
    accepted = gateway.edit("not this", headers=ASYNC)
    assert accepted.status_code == 202
    answer = result_of(gateway, accepted)
    assert answer.status_code == 400
    assert answer.headers["x-should-retry"] == "false"
    assert result_of(gateway, accepted).json() == answer.json()


def test_the_answers_of_a_person_are_forgotten_with_the_person(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    settings = admin_settings(tmp_path, emulator)
    make_key(settings)
    with serving(settings) as served:
        theirs = served.edit("hers", headers={**ASYNC, "x-gateway-user": "ada"})
        others = served.edit("his", headers={**ASYNC, "x-gateway-user": "bob"})
        assert {result_of(served, each).status_code for each in (theirs, others)} == {200}
        Api(served).post("/users/forget", user="ada")
        check_refused(result_of(served, theirs), 404, "not_found")
        assert result_of(served, others).status_code == 200


def test_links_are_made_anew_each_time_the_answer_is_given(
    tmp_path: Path, emulator: EmulatorServer, clock: SteppedClock
) -> None:
    """They lead to the answer, which is kept longer than a link is valid, and than the result."""
    more = {"server": {"public_url": "http://gateway.test"}}
    settings = settings_for(tmp_path, emulator, more)
    make_key(settings)
    with serving(settings, clock) as served, served.client() as client:
        made = client.post(
            "/v1/images/generations",
            headers=ASYNC,
            json={"model": "deepshi-image-1", "prompt": "a cat", "response_format": "url"},
        )
        assert client.get(_picture_of(result_of(served, made))).status_code == 200

        accepted = served.edit("linked", headers=ASYNC, response_format="url")
        link = _picture_of(result_of(served, accepted))
        picture = client.get(link).content
        assert picture.startswith(b"\x89PNG")
        for file in settings.cache.folder.glob("[0-9a-f][0-9a-f]/*.val"):
            file.unlink()
        clock.step(settings.cache.link_seconds)
        _wait_for(lambda: served.edit("others").status_code == 200)  # keys are read again
        check_refused(client.get(link), 403, "permission_denied")
        again = _picture_of(result_of(served, accepted))
        assert client.get(again).content == picture
        hit = served.edit("others", headers=ASYNC, response_format="url")
        assert (hit.status_code, client.get(_picture_of(hit)).status_code) == (200, 200)
        clock.step(KEPT_MS / 1000)
        _wait_for(lambda: served.edit("others").status_code == 200)
        check_refused(result_of(served, accepted), 410, "answer_gone")


def _picture_of(answer: httpx.Response) -> str:
    """The path and query of the link in an answer."""
    assert answer.status_code == 200, answer.text
    (item,) = answer.json()["data"]
    assert "b64_json" not in item
    return str(item["url"]).removeprefix("http://gateway.test")


@pytest.mark.parametrize(
    ("headers", "fields", "param"),
    [
        ({"x-gateway-cache-control": "no-store"}, {}, "Prefer"),
        ({"cache-control": "no-store"}, {}, "Prefer"),
        ({}, {"response_format": "url"}, "response_format"),
    ],
)
def test_what_can_not_be_kept_is_refused(
    gateway: Running, headers: dict[str, str], fields: dict[str, Any], param: str
) -> None:
    answer = gateway.edit("never", headers={**ASYNC, **headers}, **fields)
    check_refused(answer, 400, "invalid_field", param=param)


def test_a_stream_is_streamed(gateway: Running) -> None:
    answer = gateway.edit("streamed", headers=ASYNC, stream="true")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")


def test_requests_that_run_count_as_in_flight(tmp_path: Path, emulator: EmulatorServer) -> None:
    settings = settings_for(tmp_path, emulator)
    make_key(settings, key_terms={"max_in_flight": 1})
    emulator.order({"hang": True})
    with serving(settings) as served:
        accepted = served.edit("one", headers=ASYNC)
        assert accepted.status_code == 202
        check_refused(served.edit("two", headers=ASYNC), 429, "rate_limit_exceeded")
        _wait_for(emulator.release)
        assert result_of(served, accepted).status_code == 200
        assert served.edit("two", headers=ASYNC).status_code == 202


def test_a_process_that_stops_finishes_what_it_has_accepted(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    settings = settings_for(tmp_path, emulator)
    make_key(settings)
    emulator.order({"latency_seconds": 0.5})
    with serving(settings) as served:
        accepted = served.edit("one", headers=ASYNC)
        assert accepted.status_code == 202
    with serving(settings) as again:
        answer = result_of(again, accepted)
    assert answer.status_code == 200
    assert emulator.stats()["billed_calls"] == 1


@pytest.mark.parametrize("engine", ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def test_another_process_answers_for_one_that_was_killed(
    tmp_path: Path,
    emulator: EmulatorServer,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    clock: SteppedClock,
    engine: str,
) -> None:
    monkeypatch.setattr("gateway.runtime.job_table.SETTLE_ABANDONED_SECONDS", 0.2)
    more: dict[str, Any] = {"state": {"lease_seconds": 1}}
    if engine == "postgresql":
        more["state"]["url"] = fresh_schema(request.getfixturevalue("postgres_url"))
    settings = settings_for(tmp_path, emulator, more)
    make_key(settings)
    tables: Overrides = tables_of(tmp_path, emulator, more)
    with serving(settings, clock) as other:
        with GatewayProcess(tables, tmp_path) as process:
            done = process.edit("done before", headers=ASYNC)
            whole = result_of(process, done)
            emulator.order({"hang": True})
            cut = process.edit("cut short", headers=ASYNC)
            assert cut.status_code == 202
            assert status_of(other, cut)["state"] == "running"
            _wait_for(lambda: float(status_of(other, cut)["held_usd"]) > 0)
            held_usd = status_of(other, cut)["held_usd"]
            process.kill()
        assert result_of(other, done).content == whole.content
        lost = result_of(other, cut)
        check_refused(lost, 502, "request_lost")
        assert lost.headers["x-should-retry"] == "false"
        clock.step(90)  # by then a process without a heartbeat is looked for
        _wait_for(lambda: status_of(other, cut)["estimated"])
        status = status_of(other, cut)
        assert (status["state"], status["held_usd"]) == ("lost", "0")
        assert status["cost_usd"] == held_usd, "booked at its ceiling"
        assert in_state(settings, verify).differences == ()
    assert json.loads(whole.content)["data"]


def _wait_for(check: Any, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_while_enough_run_the_preference_is_ignored(
    gateway: Running, emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No connection bounds what runs without a client."""
    monkeypatch.setattr("gateway.runtime.detached_requests.MOST_RUNNING", 1)
    emulator.order({"hang": True})
    accepted = gateway.edit("the first", headers=ASYNC)
    waited = gateway.edit("another", headers=ASYNC)
    _wait_for(emulator.release)

    assert (accepted.status_code, waited.status_code) == (202, 200)
    assert "preference-applied" not in waited.headers
    assert result_of(gateway, accepted).status_code == 200


def test_no_key_fills_the_disk_with_answers(tmp_path: Path, emulator: EmulatorServer) -> None:
    """They are kept for a day, whatever else is evicted: for one picture, one to each who joins."""
    settings = settings_for(tmp_path, emulator, {"cache": {"max_bytes": 400_000}})
    make_key(settings)
    with serving(settings) as served:
        kept = 0
        while (answer := served.edit(f"edit {kept}", headers=ASYNC)).status_code == 202:
            assert result_of(served, answer).status_code == 200
            kept += 1
            assert kept < 20, "there is no end to it"

    assert kept > 0
    assert (answer.status_code, "preference-applied" in answer.headers) == (200, False)
