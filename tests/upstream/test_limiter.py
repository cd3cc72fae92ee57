"""Leave to call the upstream: a bounded number at once, teams in turn, and none into a storm."""

from __future__ import annotations

import functools
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.accounts.tables import organisation
from gateway.database.database import Transaction
from gateway.emulator import EmulatorServer
from gateway.settings import Settings
from tests.support.crowds import leaving_crowd
from tests.support.serving import (
    KEY,
    GatewayProcess,
    Running,
    author,
    in_state,
    make_key,
    serving,
    settings_for,
    tables_of,
)
from tests.support.waiting import let_go, until

OTHER = "sk-other-0123456789abcdef"


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as threads:
        yield threads


@contextmanager
def narrow(
    folder: Path,
    emulator: EmulatorServer,
    team: Mapping[str, object] | None = None,
    **upstream: Any,
) -> Iterator[Running]:
    """A gateway with two teams, that makes one call at a time unless told otherwise."""
    bounds = {"max_connections": 1, **upstream}
    settings = settings_for(folder, emulator, {"upstream": bounds})
    make_key(settings, team_terms=team)
    make_key(settings, team="other", secret=OTHER)
    with serving(settings) as gateway:
        yield gateway


def metric(gateway: Running, name: str) -> float:
    with gateway.client(key=None) as client:
        found = re.search(rf"^{re.escape(name)} (\S+)$", client.get("/metrics").text, re.MULTILINE)
    assert found, name
    return float(found[1])


def waiting(gateway: Running) -> float:
    return metric(gateway, 'gateway_upstream_queue_waiting{upstream="deepshi"}')


def held(settings: Settings) -> int:
    """For how many calls money is held."""

    async def count(tx: Transaction) -> int:
        (row,) = await tx.fetch("SELECT COUNT(*) AS n FROM reservations")
        return int(row["n"])

    return in_state(settings, count)


def degraded(gateway: Running) -> list[str]:
    with gateway.client(key=None) as client:
        answer = client.get("/readyz")
    assert answer.status_code == 200
    return list(answer.json()["degraded"])


def code(answer: httpx.Response) -> tuple[int, str, str | None]:
    return (
        answer.status_code,
        answer.json()["error"]["code"],
        answer.headers.get("x-should-retry"),
    )


def _are_waiting(gateway: Running, count: int) -> bool:
    return waiting(gateway) == count


def a_line(
    gateway: Running,
    emulator: EmulatorServer,
    pool: ThreadPoolExecutor,
    *keys: str,
    key: str = KEY,
) -> tuple[Future[httpx.Response], list[Future[httpx.Response]]]:
    """One edit whose call hangs, and one behind it for each of these keys, in this order."""
    emulator.order({"hang": True})
    first = pool.submit(gateway.edit, "first", key=key)
    until(lambda: emulator.stats()["in_flight"] == 1)
    behind = []
    for number, key in enumerate(keys):
        behind.append(pool.submit(gateway.edit, f"edit {number}", key=key))
        until(functools.partial(_are_waiting, gateway, number + 1))
    return first, behind


# --- seats and the line ---------------------------------------------------------------


def test_no_more_calls_run_at_once_than_there_are_seats(
    tmp_path: Path, emulator: EmulatorServer, pool: ThreadPoolExecutor
) -> None:
    emulator.order(always={"hang": True})
    with narrow(tmp_path, emulator, max_connections=3) as gateway:
        edits = [pool.submit(gateway.edit, str(number)) for number in range(8)]
        until(lambda: (emulator.stats()["in_flight"], waiting(gateway)) == (3, 5))
        assert metric(gateway, 'gateway_upstream_in_flight{upstream="deepshi"}') == 3
        emulator.order(always={})
        let_go(emulator, 3)
        assert [edit.result(30).status_code for edit in edits] == [200] * 8
        assert gateway.app.parts.upstreams["deepshi"].limiter.queue.taken == waiting(gateway) == 0
        assert metric(gateway, 'gateway_upstream_queue_seconds_count{upstream="deepshi"}') == 8


def test_one_team_s_burst_does_not_starve_another(
    tmp_path: Path, emulator: EmulatorServer, pool: ThreadPoolExecutor
) -> None:
    with narrow(tmp_path, emulator) as gateway:
        first, behind = a_line(gateway, emulator, pool, *[KEY] * 5, OTHER, OTHER)
        let_go(emulator)
        answers = [edit.result(30) for edit in [first, *behind]]

    teams = {answer.headers["x-request-id"]: "design" for answer in answers[:6]}
    turns = [teams.get(row["client_request_id"], "other") for row in emulator.statement()]
    assert turns[:5] == ["design", "design", "other", "design", "other"]
    assert Counter(turns) == {"design": 6, "other": 2}


def test_waiting_for_a_turn_is_none_of_the_gateway_s_own_time(
    tmp_path: Path, emulator: EmulatorServer, pool: ThreadPoolExecutor
) -> None:
    with narrow(tmp_path, emulator) as gateway:
        first, (second,) = a_line(gateway, emulator, pool, KEY)
        threading.Event().wait(0.2)
        let_go(emulator)
        assert (first.result(30).status_code, second.result(30).status_code) == (200, 200)
        whole = metric(gateway, 'gateway_request_seconds_sum{outcome="miss",route="edits"}')
        own = metric(gateway, 'gateway_overhead_seconds_sum{outcome="miss"}')

    assert whole - own >= 0.4


def test_no_money_is_held_for_who_waits_in_the_line(
    tmp_path: Path, emulator: EmulatorServer, pool: ThreadPoolExecutor
) -> None:
    team = {"budget_usd": "0.04"}
    with narrow(tmp_path, emulator, team=team) as gateway:
        first, behind = a_line(gateway, emulator, pool, KEY, KEY, KEY)
        assert held(gateway.settings) == 1
        let_go(emulator)
        assert [edit.result(30).status_code for edit in [first, *behind]] == [200] * 4
        assert held(gateway.settings) == 0


def test_who_has_no_money_is_told_so_without_a_wait(
    tmp_path: Path, emulator: EmulatorServer, pool: ThreadPoolExecutor
) -> None:
    with narrow(tmp_path, emulator, team={"budget_usd": "0.001"}) as gateway:
        first, _ = a_line(gateway, emulator, pool, key=OTHER)
        poor = gateway.edit("poor")
        assert waiting(gateway) == 0
        in_state(gateway.settings, lambda tx: organisation.pause(tx, author()))
        stopped = gateway.edit("stopped", key=OTHER)
        let_go(emulator)
        assert first.result(30).status_code == 200

    assert code(poor)[1] == "insufficient_quota"
    assert poor.json()["error"]["needed"] == "0.01"
    assert code(stopped)[1] == "spending_paused"


def test_a_full_line_is_said_at_once_and_costs_nothing(
    tmp_path: Path, emulator: EmulatorServer, pool: ThreadPoolExecutor
) -> None:
    with narrow(tmp_path, emulator, max_waiting=2) as gateway:
        first, behind = a_line(gateway, emulator, pool, KEY, KEY)
        refused = gateway.edit("one too many")
        other = pool.submit(gateway.edit, "theirs", key=OTHER)
        displaced = behind[1].result(30)
        let_go(emulator)
        served = [edit.result(30).status_code for edit in (first, behind[0], other)]

    for answer in (refused, displaced):
        assert code(answer) == (503, "overloaded", "true")
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert answer.headers["x-gateway-error-source"] == "gateway"
    assert served == [200] * 3
    assert emulator.stats()["calls"] == 3


def test_a_turn_that_does_not_come_in_time_is_told_so(
    tmp_path: Path, emulator: EmulatorServer, pool: ThreadPoolExecutor
) -> None:
    with narrow(tmp_path, emulator, queue_seconds=3) as gateway:
        first, (late,) = a_line(gateway, emulator, pool, OTHER)
        assert code(late.result(30)) == (503, "overloaded", "true")
        assert waiting(gateway) == 0
        let_go(emulator)
        assert first.result(30).status_code == 200
        assert gateway.edit("after").status_code == 200
    assert emulator.stats()["calls"] == 2


def test_clients_that_leave_do_not_take_seats_along(
    tmp_path: Path, emulator: EmulatorServer, pool: ThreadPoolExecutor
) -> None:
    with narrow(tmp_path, emulator, max_connections=2) as gateway:
        emulator.order({"hang": True}, {"hang": True})
        for prompt in ("a", "b"):
            assert leaving_crowd(gateway.url, 1, patience=1.5, prompt=prompt) == 1
        for prompt in ("c", "d"):
            assert leaving_crowd(gateway.url, 1, patience=1.5, prompt=prompt) == 1
        let_go(emulator, 2)
        until(lambda: gateway.app.parts.coalescing.flights.in_flight == 0)
        assert gateway.app.parts.upstreams["deepshi"].limiter.queue.taken == waiting(gateway) == 0
        assert [gateway.edit(prompt).status_code for prompt in ("e", "f", "g")] == [200] * 3


def test_who_waits_for_money_that_is_held_leaves_the_seat_to_others(
    tmp_path: Path,
    emulator: EmulatorServer,
    pool: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.ledger.budget_service.HELD_WAIT_SECONDS", 30.0)
    emulator.order({"hang": True})
    with narrow(tmp_path, emulator, team={"budget_usd": "0.015"}, max_connections=2) as gateway:
        first = pool.submit(gateway.edit, "takes all the money")
        until(lambda: emulator.stats()["in_flight"] == 1)
        poor = [pool.submit(gateway.edit, f"poor {number}") for number in range(3)]
        assert gateway.edit("rich", key=OTHER).status_code == 200
        until(lambda: emulator.stats()["in_flight"] == 1)
        assert not any(edit.done() for edit in poor)
        let_go(emulator)
        assert first.result(30).status_code == 200
        told = {code(edit.result(30))[1] for edit in poor}
        assert told == {"insufficient_quota"}
        assert gateway.app.parts.upstreams["deepshi"].limiter.queue.taken == 0


def test_what_waits_in_the_line_is_served_while_the_gateway_drains(
    tmp_path: Path, emulator: EmulatorServer, pool: ThreadPoolExecutor
) -> None:
    tables = tables_of(tmp_path, emulator, {"upstream": {"max_connections": 1}})
    make_key(settings_for(tmp_path, emulator))
    emulator.order({"hang": True})
    with GatewayProcess(tables, tmp_path / "process") as gateway:
        edits = [pool.submit(gateway.edit, "first")]
        until(lambda: emulator.stats()["in_flight"] == 1)
        edits.append(pool.submit(gateway.edit, "second"))
        until(lambda: _waits(gateway) == 1)
        stopped = pool.submit(gateway.stop)
        threading.Event().wait(0.2)
        let_go(emulator)
        assert [edit.result(30).status_code for edit in edits] == [200, 200]
        assert stopped.result(30) == 0


def test_what_waits_in_the_line_when_the_drain_is_over_is_told_so_and_has_cost_nothing(
    tmp_path: Path, emulator: EmulatorServer, pool: ThreadPoolExecutor
) -> None:
    more = {"upstream": {"max_connections": 1}, "server": {"drain_seconds": 1}}
    settings = settings_for(tmp_path, emulator, more)
    make_key(settings)
    emulator.order({"hang": True})
    with GatewayProcess(tables_of(tmp_path, emulator, more), tmp_path / "process") as gateway:
        first = pool.submit(gateway.edit, "first")
        until(lambda: emulator.stats()["in_flight"] == 1)
        second = pool.submit(gateway.edit, "second")
        until(lambda: _waits(gateway) == 1)
        gateway.stop()
        assert code(first.result(30)) == (504, "upstream_timeout", "false")
        assert code(second.result(30)) == (503, "shutting_down", "true")

    assert emulator.stats()["calls"] == 1
    assert held(settings) == 0


def _waits(gateway: GatewayProcess) -> float:
    with gateway.client(key=None) as client:
        text = client.get("/metrics").text
    return float(re.findall(r"^gateway_upstream_queue_waiting(?:\{.*\})? (\S+)$", text, re.M)[0])


# --- the circuit ----------------------------------------------------------------------


def test_after_failures_in_a_row_nothing_is_sent_or_held_until_one_call_has_found_out(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    emulator.order(always={"status": 500})
    with narrow(tmp_path, emulator, circuit_failures=3, circuit_seconds=6) as gateway:
        failed = [gateway.edit(str(number)) for number in range(3)]
        refused = gateway.edit("another")
        assert emulator.stats()["calls"] == 3
        assert held(gateway.settings) == 0
        assert degraded(gateway) == ["upstream: circuit open (upstream_failed)"]
        assert metric(gateway, 'gateway_circuit_open{upstream="deepshi"}') == 1
        emulator.clear_faults()
        until(lambda: gateway.edit("another").status_code == 200, 60)
        assert degraded(gateway) == []
        assert metric(gateway, 'gateway_circuit_open{upstream="deepshi"}') == 0
        assert metric(gateway, 'gateway_circuit_opened_total{upstream="deepshi"}') == 1
        log = gateway.log.getvalue()

    assert {code(answer)[1] for answer in failed} == {"upstream_failed"}
    assert code(refused) == (503, "overloaded", "true")
    assert 1 <= int(refused.headers["retry-after"]) <= 6
    assert "reserve" not in refused.headers["server-timing"]
    assert "the circuit opened" in log
    assert "the circuit closed" in log


def test_nobody_waits_in_the_line_while_the_circuit_is_open(
    tmp_path: Path, emulator: EmulatorServer, pool: ThreadPoolExecutor
) -> None:
    with narrow(tmp_path, emulator, circuit_failures=1, circuit_seconds=6) as gateway:
        emulator.order({"status": 500}, {"hang": True})
        gateway.edit("opens it")
        probe = pool.submit(_once_let_through, gateway, "probe")
        until(lambda: emulator.stats()["in_flight"] == 1, 60)
        refused = gateway.edit("another")
        assert code(refused) == (503, "overloaded", "true")
        assert "queue;dur=" in refused.headers["server-timing"]
        assert _milliseconds(refused, "queue") < 5_000
        let_go(emulator)
        assert probe.result(30).status_code == 200


def _once_let_through(gateway: Running, prompt: str) -> httpx.Response:
    for _ in range(600):
        answer = gateway.edit(prompt)
        if answer.status_code != 503:
            break
        threading.Event().wait(0.1)
    return answer


def _milliseconds(answer: httpx.Response, stage: str) -> float:
    found = re.search(rf"\b{stage};dur=([\d.]+)", answer.headers["server-timing"])
    assert found, answer.headers["server-timing"]
    return float(found[1])


def test_hits_are_served_while_the_circuit_is_open(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    with narrow(tmp_path, emulator, circuit_failures=1) as gateway:
        gateway.edit("bought before")
        emulator.order({"status": 500})
        gateway.edit("fails")

        assert code(gateway.edit("new"))[1] == "overloaded"
        assert gateway.edit("bought before").headers["x-gateway-cache"] == "HIT"


def test_one_probe_goes_at_a_time_and_its_failure_leaves_the_circuit_open(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    emulator.order(always={"status": 500})
    with narrow(tmp_path, emulator, circuit_failures=1, circuit_seconds=4) as gateway:
        gateway.edit("opens it")
        until(lambda: code(gateway.edit("probe"))[1] == "upstream_failed", 60)
        assert code(gateway.edit("right after it"))[1] == "overloaded"
        assert metric(gateway, 'gateway_circuit_opened_total{upstream="deepshi"}') == 1
    assert emulator.stats()["calls"] == 2


def test_a_probe_that_cannot_be_paid_for_leaves_its_place_to_another(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    with narrow(
        tmp_path, emulator, team={"budget_usd": "0.001"}, circuit_failures=1, circuit_seconds=4
    ) as gateway:
        emulator.order({"status": 500})
        gateway.edit("opens it", key=OTHER)
        until(lambda: code(gateway.edit("poor"))[1] == "insufficient_quota", 60)
        assert gateway.edit("rich", key=OTHER).status_code == 200


@pytest.mark.parametrize(
    ("fault", "opens"),
    [
        ({"status": 400}, False),
        ({"status": 401}, True),
        ({"status": 402}, True),
        ({"status": 403}, False),
        ({"status": 409}, False),
        ({"status": 429}, False),
        ({"status": 503}, True),
        ({"status": 502}, True),
        ({"reset_before_read": True}, True),
        ({"truncate": True}, True),
        ({"garbage": True}, True),
    ],
)
def test_what_counts_is_an_upstream_that_fails_not_one_that_refuses(
    tmp_path: Path, emulator: EmulatorServer, fault: dict[str, object], opens: bool
) -> None:
    emulator.order(always=fault)
    with narrow(tmp_path, emulator, circuit_failures=1, max_attempts=1) as gateway:
        gateway.edit("one")
        assert any("circuit" in failure for failure in degraded(gateway)) == opens


def test_an_upstream_that_cannot_be_reached_opens_the_circuit(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    with narrow(tmp_path, emulator, base_url="http://127.0.0.1:9/v1") as gateway:
        codes = [code(gateway.edit(str(number)))[1] for number in range(3)]
        assert "upstream: circuit open (upstream_unreachable)" in degraded(gateway)

    assert codes == ["upstream_unreachable", "upstream_unreachable", "overloaded"]


def test_an_account_that_is_refused_is_not_hammered_and_the_clients_are_told_why(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    # No probe is made, however slow the machine is.
    once: dict[str, Any] = {"circuit_failures": 3, "circuit_seconds": 600}
    with narrow(tmp_path, emulator, api_key="sk-not-ours", **once) as gateway:
        answers = [gateway.edit(str(number)) for number in range(6)]
        refusals = metric(gateway, 'gateway_upstream_account_refusals_total{upstream="deepshi"}')

    assert {code(answer) for answer in answers} == {(502, "upstream_account", "false")}
    assert refusals == emulator.stats()["calls"] == 3
