"""Tries again where that can't buy twice, and several keys of one account."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse, RedirectResponse, Response

from gateway.emulator import EmulatorServer, EmulatorSettings
from gateway.ledger.tables import reports
from gateway.ledger.tables.ledger_rows import LedgerRow
from gateway.settings import Settings
from tests.support.serving import Running, in_state, make_key, serving, settings_for
from tests.support.upstreams import Recording, recording_upstream
from tests.upstream.test_limiter import code, degraded, metric

KEYS = ("sk-upstream-aaaa", "sk-upstream-bbbb", "sk-upstream-cccc")


@contextmanager
def with_keys(
    folder: Path, *keys: str, **upstream: Any
) -> Iterator[tuple[Running, EmulatorServer]]:
    """A gateway that has these keys of an account that knows `KEYS`."""
    with EmulatorServer(EmulatorSettings(keys=KEYS)) as emulator:
        settings = settings_for(folder, emulator, {"upstream": {"api_key": list(keys), **upstream}})
        make_key(settings)
        with serving(settings) as gateway:
            yield gateway, emulator


def paid_by(emulator: EmulatorServer) -> list[str]:
    return [row["credential"] for row in emulator.statement()]


def ledger(settings: Settings) -> list[tuple[str, int]]:
    """Which key paid for each call, and what."""

    async def rows(tx: Any) -> Sequence[LedgerRow]:
        return await reports.ledger_rows(tx, "2000-01-01", "2999-12-31")

    return [(row.credential, row.cost_nanos) for row in in_state(settings, rows)]


# --- keys -----------------------------------------------------------------------------


def test_keys_take_turns_and_the_ledger_says_which_paid(tmp_path: Path) -> None:
    with with_keys(tmp_path, *KEYS) as (gateway, emulator):
        assert [gateway.edit(str(n)).status_code for n in range(4)] == [200] * 4
        paid = paid_by(emulator)
        assert set(paid[:3]) == {"aaaa", "bbbb", "cccc"}
        assert paid[3] == paid[0]
        numbers = {"aaaa": 1, "bbbb": 2, "cccc": 3}
        named = [(f"{numbers[name]}:…{name}", 10_000_000) for name in paid]
        assert sorted(ledger(gateway.settings)) == sorted(named)


def test_a_key_that_is_told_to_wait_rests_and_the_next_goes_out_with_another_at_once(
    tmp_path: Path,
) -> None:
    with with_keys(tmp_path, *KEYS[:2]) as (gateway, emulator):
        emulator.order({"status": 429, "retry_after": 60})
        started = time.monotonic()
        answers = [gateway.edit(str(number)) for number in range(3)]
        seconds = time.monotonic() - started

        assert [answer.status_code for answer in answers] == [200] * 3
        assert seconds < 60
        assert paid_by(emulator) in (["aaaa"] * 3, ["bbbb"] * 3)
        assert (
            metric(gateway, 'gateway_upstream_retries_total{reason="busy",upstream="deepshi"}') == 1
        )
        assert emulator.stats()["calls"] == 4


def test_a_key_that_is_refused_costs_one_try_and_the_others_work_on(tmp_path: Path) -> None:
    with with_keys(tmp_path, "sk-revoked-0000", *KEYS[:2]) as (gateway, emulator):
        answers = [gateway.edit(str(number)) for number in range(5)]

        assert [answer.status_code for answer in answers] == [200] * 5
        assert paid_by(emulator).count("aaaa") + paid_by(emulator).count("bbbb") == 5
        refused = metric(gateway, 'gateway_upstream_account_refusals_total{upstream="deepshi"}')
        assert emulator.stats()["calls"] == 5 + refused
        assert refused <= 1
        assert degraded(gateway) == ["upstream: 1 of 3 keys refused"]


def test_every_key_is_tried_before_a_client_is_told_that_none_works(tmp_path: Path) -> None:
    revoked = [f"sk-revoked-{number:04}" for number in range(6)]
    with with_keys(tmp_path, *revoked, KEYS[0], circuit_failures=3) as (gateway, emulator):
        assert [gateway.edit(str(number)).status_code for number in range(3)] == [200] * 3
        assert paid_by(emulator) == ["aaaa"] * 3
        assert degraded(gateway) == ["upstream: 6 of 7 keys refused"]


def test_a_key_that_is_refused_while_others_work_is_no_trouble_of_the_upstream(
    tmp_path: Path,
) -> None:
    with with_keys(tmp_path, *KEYS, circuit_failures=2) as (gateway, emulator):
        emulator.order({"status": 401}, {"status": 403})
        assert gateway.edit().status_code == 200
        assert emulator.stats()["calls"] == 3
        assert degraded(gateway) == ["upstream: 2 of 3 keys refused"]
        assert (
            metric(gateway, 'gateway_upstream_retries_total{reason="key",upstream="deepshi"}') == 2
        )


def test_where_every_key_is_refused_it_is_the_account(tmp_path: Path) -> None:
    with with_keys(tmp_path, "sk-revoked-0000", "sk-revoked-1111") as (gateway, emulator):
        assert code(gateway.edit()) == (502, "upstream_account", "false")
        assert emulator.stats()["calls"] <= 2  # the catalogue may have found one out already


def test_credit_that_is_used_up_is_not_tried_with_every_key(tmp_path: Path) -> None:
    with with_keys(tmp_path, *KEYS) as (gateway, emulator):
        emulator.order({"status": 402})
        assert code(gateway.edit()) == (502, "upstream_account", "false")
        assert emulator.stats()["calls"] == 1


@pytest.mark.parametrize(
    ("status", "said"), [(429, "insufficient_quota"), (400, "billing_hard_limit_reached")]
)
def test_an_account_that_cannot_pay_is_not_tried_again_and_opens_the_circuit(
    tmp_path: Path, emulator: EmulatorServer, status: int, said: str
) -> None:
    error = {"message": "You exceeded your quota", "type": said, "param": None, "code": said}
    with upstream_that_refuses(tmp_path, emulator, JSONResponse({"error": error}, status)) as (
        gateway,
        upstream,
    ):
        assert code(gateway.edit("one")) == (502, "upstream_account", "false")
        assert code(gateway.edit("two")) == (502, "upstream_account", "false")
        assert "upstream: circuit open (upstream_account)" in degraded(gateway)
        assert len(upstream.seen) == 1
    assert [cost for _, cost in ledger(gateway.settings)] == [0]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_costs_nothing_and_its_target_is_named(
    tmp_path: Path, emulator: EmulatorServer, status: int
) -> None:
    target = "https://new.example/v1/images/edits"
    redirect = RedirectResponse(f"{target}?key=secret", status)
    with upstream_that_refuses(tmp_path, emulator, redirect) as (gateway, upstream):
        answer = gateway.edit()
        assert code(answer) == (502, "upstream_failed", "false")
        assert f"({status}) to {target};" in answer.json()["error"]["message"]
        assert len(upstream.seen) == 1
    assert [cost for _, cost in ledger(gateway.settings)] == [0]


@contextmanager
def upstream_that_refuses(
    folder: Path, emulator: EmulatorServer, refusal: Response
) -> Iterator[tuple[Running, Recording]]:
    """A gateway whose circuit opens at once, in front of an upstream that answers this."""
    with recording_upstream() as upstream:
        upstream.refusal = refusal
        changes = {"base_url": upstream.url, "circuit_failures": 1, "circuit_seconds": 600}
        settings = settings_for(folder, emulator, {"upstream": changes})
        make_key(settings)
        with serving(settings) as gateway:
            yield gateway, upstream


def test_an_account_that_was_told_to_wait_is_left_alone_that_long(tmp_path: Path) -> None:
    with with_keys(tmp_path, KEYS[0]) as (gateway, emulator):
        emulator.order({"status": 429, "retry_after": 45})
        answers = [gateway.edit("one"), gateway.edit("another")]

        assert {code(answer) for answer in answers} == {(429, "upstream_busy", "true")}
        assert all(20 < int(answer.headers["retry-after"]) <= 45 for answer in answers)
        (failure,) = degraded(gateway)
        assert failure.startswith("upstream: asks to be left alone for ")
        assert emulator.stats()["calls"] == 1
        assert [cost for _, cost in ledger(gateway.settings)] == [0]
        assert "reserve" not in answers[1].headers["server-timing"]


# --- tries ----------------------------------------------------------------------------


def test_what_the_upstream_asks_for_is_waited_and_then_it_is_bought_once(
    gateway: Running, emulator: EmulatorServer
) -> None:
    emulator.order({"status": 503, "retry_after": 1.5})
    started = time.monotonic()
    answer = gateway.edit()

    assert answer.status_code == 200
    assert time.monotonic() - started >= 1.5
    assert emulator.stats()["billed_calls"] == 1
    assert (
        metric(gateway, 'gateway_upstream_retries_total{reason="unavailable",upstream="deepshi"}')
        == 1
    )


def test_a_wait_beyond_the_budget_of_time_is_told_to_the_client_instead(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    settings = settings_for(tmp_path, emulator, {"upstream": {"timeout_seconds": 3}})
    make_key(settings)
    emulator.order({"status": 503, "retry_after": 10})
    with serving(settings) as gateway:
        answer = gateway.edit()

    assert code(answer) == (503, "upstream_busy", "true")
    assert answer.headers["retry-after"] == "10"
    assert emulator.stats()["calls"] == 1


def test_tries_end_with_their_number(tmp_path: Path, emulator: EmulatorServer) -> None:
    settings = settings_for(tmp_path, emulator, {"upstream": {"max_attempts": 2}})
    make_key(settings)
    emulator.order(always={"status": 503})
    with serving(settings) as gateway:
        assert code(gateway.edit()) == (503, "upstream_busy", "true")
    assert emulator.stats()["calls"] == 2


def test_what_was_provably_not_sent_is_tried_again_and_costs_nothing(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    nowhere = {"upstream": {"base_url": "http://127.0.0.1:9/v1"}}
    settings = settings_for(tmp_path, emulator, nowhere)
    make_key(settings)
    with serving(settings) as gateway:
        answer = gateway.edit()
        tries = metric(
            gateway, 'gateway_upstream_retries_total{reason="unreachable",upstream="deepshi"}'
        )

    assert code(answer) == (502, "upstream_unreachable", "true")
    assert tries == 2
    assert ledger(settings) == []


def test_a_503_that_may_have_been_charged_is_not_tried_again(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    settings = settings_for(tmp_path, emulator, {"upstream": {"uncharged_statuses": ["4xx"]}})
    make_key(settings)
    emulator.order({"status": 503})
    with serving(settings) as gateway:
        assert code(gateway.edit()) == (502, "upstream_failed", "false")
        assert code(gateway.edit()) == (502, "upstream_failed", "false")
    assert emulator.stats()["calls"] == 1
    assert [cost for _, cost in ledger(settings)] == [10_000_000]
