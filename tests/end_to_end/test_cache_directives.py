"""What a client may ask of the cache, and who shares what it holds."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.database.database import Transaction
from gateway.emulator import EmulatorServer
from gateway.ledger.tables.reuse import Borrowing, paid_by_others
from gateway.settings import Settings
from tests.support.crowds import crowd, outcomes
from tests.support.serving import (
    KEY,
    Running,
    SteppedClock,
    in_state,
    make_key,
    serving,
    settings_for,
)
from tests.support.usage import usage_of
from tests.support.waiting import let_go, until

NO_CACHE = {"x-gateway-cache-control": "no-cache"}
NO_STORE = {"x-gateway-cache-control": "no-store"}


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads


# --- no-cache -------------------------------------------------------------------------


def test_no_cache_edits_at_once_make_one_call(gateway: Running, emulator: EmulatorServer) -> None:
    gateway.edit()
    emulator.order(always={"latency_seconds": 1.0})
    answers = crowd([gateway.url], 20, headers=NO_CACHE)

    assert outcomes(answers) == {"REFRESHED": 1, "COALESCED": 19}
    assert emulator.stats()["calls"] == 2


def test_a_plain_miss_may_join_a_no_cache_flight_but_not_the_other_way_round(
    gateway: Running, emulator: EmulatorServer, pool: ThreadPoolExecutor
) -> None:
    emulator.order({"hang": True}, {"hang": True})
    plain = pool.submit(gateway.edit)
    until(lambda: emulator.stats()["in_flight"] == 1)
    fresh = pool.submit(gateway.edit, headers=NO_CACHE)
    until(lambda: emulator.stats()["in_flight"] == 2)
    let_go(emulator, 2)
    assert outcomes([plain.result(30), fresh.result(30)]) == {"MISS": 1, "REFRESHED": 1}

    emulator.order({"hang": True})
    fresh = pool.submit(gateway.edit, "make it blur", headers=NO_CACHE)
    until(lambda: emulator.stats()["in_flight"] == 1)
    plain = pool.submit(gateway.edit, "make it blur")
    until(lambda: gateway.app.parts.coalescing.flights.followers == 1)
    let_go(emulator)
    assert outcomes([plain.result(30), fresh.result(30)]) == {"COALESCED": 1, "REFRESHED": 1}
    assert emulator.stats()["calls"] == 3


# --- no-store -------------------------------------------------------------------------


def test_no_store_joins_nobody_and_nobody_joins_it(
    gateway: Running, emulator: EmulatorServer, pool: ThreadPoolExecutor
) -> None:
    emulator.order({"hang": True}, {"hang": True}, {"hang": True})
    edits = [pool.submit(gateway.edit, headers=NO_STORE) for _ in range(2)]
    until(lambda: emulator.stats()["in_flight"] == 2)
    edits.append(pool.submit(gateway.edit))
    until(lambda: emulator.stats()["in_flight"] == 3)
    let_go(emulator, 3)

    assert outcomes([edit.result(30) for edit in edits]) == {"BYPASS": 2, "MISS": 1}
    assert emulator.stats()["billed_calls"] == 3


# --- max-age, only-if-cached ------------------------------------------------------------


def test_max_age_takes_nothing_older_and_replaces_it(
    settings: Settings, emulator: EmulatorServer
) -> None:
    clock = SteppedClock()
    with serving(settings, clock) as gateway:
        gateway.edit()
        clock.step(59)
        young = gateway.edit(headers={"x-gateway-cache-control": "max-age=60"})
        clock.step(2)
        old = gateway.edit(headers={"x-gateway-cache-control": "max-age=60"})
        after = gateway.edit()

    assert outcomes([young, after]) == {"HIT": 2}
    assert outcomes([old]) == {"MISS": 1}
    assert int(after.headers["age"]) <= 1
    assert emulator.stats()["calls"] == 2


def test_only_if_cached_buys_nothing(gateway: Running, emulator: EmulatorServer) -> None:
    headers = {"cache-control": "only-if-cached"}
    missing = gateway.edit(headers=headers)
    gateway.edit()
    there = gateway.edit(headers=headers)
    too_old = gateway.edit(headers={"x-gateway-cache-control": "only-if-cached, max-age=0"})

    for answer in (missing, too_old):
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "not_cached")
        assert answer.headers["x-should-retry"] == "false"
    assert outcomes([there]) == {"HIT": 1}
    assert emulator.stats()["calls"] == 1


# --- may_bypass_cache -------------------------------------------------------------------


@pytest.mark.parametrize("word", ["no-cache", "no-store", "max-age=0"])
@pytest.mark.parametrize("level", ["team", "key"])
def test_who_may_not_bypass_the_cache_gets_hits_and_buys_nothing_twice(
    tmp_path: Path, emulator: EmulatorServer, word: str, level: str
) -> None:
    settings = settings_for(tmp_path, emulator)
    forbidden = {"may_bypass_cache": False}
    team_terms = {"unlimited": True} | (forbidden if level == "team" else {})
    make_key(settings, team_terms=team_terms, key_terms=forbidden if level == "key" else {})
    with serving(settings) as gateway:
        first = gateway.edit()
        refused = gateway.edit(headers={"x-gateway-cache-control": word})
        hit = gateway.edit(headers={"x-gateway-cache-control": "max-age=600"})

    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (403, "bypass_not_allowed")
    assert word in error["message"]
    assert outcomes([first, hit]) == {"MISS": 1, "HIT": 1}
    assert emulator.stats()["calls"] == 1


# --- a plain Cache-Control ----------------------------------------------------------------

UNASKED = [
    {"cache-control": "no-cache", "pragma": "no-cache"},  # fetch with cache: "no-store", Postman
    {"cache-control": "max-age=0"},  # fetch with cache: "no-cache"
    {"pragma": "no-cache"},  # Java's setUseCaches(false), with the first
    {"cache-control": "no-store"},
]


@pytest.mark.parametrize("headers", UNASKED)
@pytest.mark.parametrize("may_bypass", [True, False])
def test_a_plain_header_buys_nothing_again(
    tmp_path: Path, emulator: EmulatorServer, headers: dict[str, str], may_bypass: bool
) -> None:
    settings = settings_for(tmp_path, emulator)
    make_key(settings, key_terms={"may_bypass_cache": may_bypass})
    ignored = next((word for word in ("no-cache", "max-age") if word in str(headers)), "")
    with serving(settings) as gateway:
        answers = [gateway.edit(), gateway.edit(headers=headers)]
        with gateway.client(None) as client:
            metrics = client.get("/metrics").text

    assert outcomes(answers) == {"MISS": 1, "HIT": 1}
    assert emulator.stats()["calls"] == 1
    if ignored:
        label = "pragma" if "cache-control" not in headers else ignored
        assert answers[1].headers["cache-status"].endswith(f"; detail=ignored-{label}")
        assert f'gateway_cache_control_ignored_total{{directive="{label}"}} 1.0' in metrics


@pytest.mark.parametrize("headers", UNASKED)
@pytest.mark.parametrize("obey", [True, False])
def test_a_plain_header_pays_for_a_billed_failure_once(
    tmp_path: Path, emulator: EmulatorServer, headers: dict[str, str], obey: bool
) -> None:
    settings = settings_for(tmp_path, emulator, {"cache": {"obey_cache_control": obey}})
    make_key(settings)
    emulator.order({"status": 500, "bill": True})
    with serving(settings) as one, serving(settings) as other:
        statuses = [gateway.edit(headers=headers).status_code for gateway in (one, one, other)]

    assert statuses == [502, 502, 502]
    assert emulator.stats()["billed_calls"] == 1


def test_with_a_plain_no_store_nothing_is_stored_but_calls_are_shared(
    gateway: Running, emulator: EmulatorServer
) -> None:
    emulator.order(always={"latency_seconds": 0.5})
    answers = crowd([gateway.url], 10, headers={"cache-control": "no-store"})
    after = gateway.edit()

    assert outcomes(answers) == {"MISS": 1, "COALESCED": 9}
    assert all("detail=no-store" in answer.headers["cache-status"] for answer in answers)
    assert outcomes([after, gateway.edit()]) == {"MISS": 1, "HIT": 1}
    assert emulator.stats()["calls"] == 2


def test_a_plain_header_steers_where_it_is_switched_on(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    settings = settings_for(tmp_path, emulator, {"cache": {"obey_cache_control": True}})
    make_key(settings)
    with serving(settings) as gateway:
        answers = [gateway.edit(), gateway.edit(headers={"cache-control": "no-cache"})]

    assert outcomes(answers) == {"MISS": 1, "REFRESHED": 1}


# --- why something is not stored --------------------------------------------------------


def test_what_is_not_stored_says_why(gateway: Running) -> None:
    document = {"model": "deepshi-banana-pro", "prompt": "a boat", "size": "64x64"}
    with gateway.client() as client:
        generation = client.post("/v1/images/generations", json=document)

    assert "detail=no-store" in gateway.edit(headers=NO_STORE).headers["cache-status"]
    by_address = gateway.edit(response_format="url").headers["cache-status"]
    assert "detail=url-results" in by_address
    assert "detail=generations-not-cached" in generation.headers["cache-status"]
    assert "stored" not in by_address.split("; ")


def test_a_store_that_keeps_nothing_is_a_miss_with_a_reason(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    settings = settings_for(tmp_path, emulator, {"cache": {"max_bytes": 1000}})
    make_key(settings)
    with serving(settings) as gateway:
        answers = [gateway.edit(), gateway.edit()]

    assert outcomes(answers) == {"MISS": 2}
    for answer in answers:
        assert answer.headers["cache-status"].endswith("; detail=results-not-kept")


def test_a_store_that_can_t_be_used_costs_the_cache_and_not_the_answer(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    settings = settings_for(tmp_path, emulator)
    make_key(settings)
    with serving(settings) as gateway:
        answer = gateway.edit()

    assert outcomes([answer]) == {"MISS": 1}
    assert "detail=results-" in answer.headers["cache-status"]


# --- who shares -------------------------------------------------------------------------


SHARED = {
    "key": {"MISS": 3},
    "team": {"MISS": 2, "HIT": 1},
    "organisation": {"MISS": 1, "HIT": 2},
}


@pytest.fixture(params=SHARED)
def scoped(request: pytest.FixtureRequest, tmp_path: Path, emulator: EmulatorServer) -> Settings:
    """Two keys of the team `design` and one of `press`, with each scope in turn."""
    settings = settings_for(tmp_path, emulator, {"cache": {"scope": request.param}})
    make_key(settings)
    make_key(settings, name="second", secret="sk-second-key")
    make_key(settings, team="press", secret="sk-press")
    return settings


def test_the_scope_says_who_shares_a_result(scoped: Settings, emulator: EmulatorServer) -> None:
    with serving(scoped) as gateway:
        answers = [gateway.edit(key=key) for key in (KEY, "sk-second-key", "sk-press")]

    wanted = SHARED[scoped.cache.scope]
    assert outcomes(answers) == wanted
    assert emulator.stats()["calls"] == wanted["MISS"]


def test_no_header_widens_the_scope(gateway: Running, settings: Settings) -> None:
    make_key(settings, team="press", secret="sk-press")
    until(lambda: gateway.edit("blur", key="sk-press").status_code == 200)
    gateway.edit()
    other = gateway.edit(
        key="sk-press",
        headers={
            "x-gateway-scope": "organisation", "openai-organization": "org", "openai-project": "p",
        },
    )  # fmt: skip

    assert outcomes([other]) == {"MISS": 1}


def test_what_a_team_used_that_another_had_paid_for_is_reported(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    settings = settings_for(tmp_path, emulator, {"cache": {"scope": "organisation"}})
    make_key(settings)
    make_key(settings, team="press", secret="sk-press")
    with serving(settings) as gateway:
        gateway.edit()
        gateway.edit()
        gateway.edit(key="sk-press")
        gateway.edit(key="sk-press", headers={"cache-control": "only-if-cached"})
        rows = usage_of(gateway, 4)

    assert [(row["team"], row["cause"], row["paid_by_team"]) for row in rows] == [
        ("design", "", ""),
        ("design", "reuse", ""),
        ("press", "reuse", "design"),
        ("press", "reuse", "design"),
    ]

    async def report(tx: Transaction) -> list[Borrowing]:
        return await paid_by_others(tx, "2000-01-01", "2999-12-31")

    assert in_state(settings, report) == [Borrowing("press", "design", 2, 20_000_000)]


def test_max_age_is_no_way_round_for_who_may_not_go_round(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    settings = settings_for(tmp_path, emulator)
    make_key(settings, key_terms={"may_bypass_cache": False})
    clock = SteppedClock()
    with serving(settings, clock) as gateway:
        first = gateway.edit()
        clock.step(2)
        refused = gateway.edit(headers={"x-gateway-cache-control": "max-age=1"})
        new = gateway.edit("another", headers={"x-gateway-cache-control": "max-age=1"})

    assert first.status_code == 200
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "bypass_not_allowed")
    assert new.status_code == 200, "what was never bought is no bypass"
    assert emulator.stats()["billed_calls"] == 2
