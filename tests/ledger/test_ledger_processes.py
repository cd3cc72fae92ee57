"""The ledger with several processes on one state, and with processes that are killed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from gateway.accounts.tables import grants
from gateway.accounts.tables.audit import Author
from gateway.database.database import Database
from gateway.ledger.rules.abandonment import Abandonment
from gateway.ledger.tables import unresolved_reservations
from tests.support.funds import CENT, NOW_MS, Till


@contextmanager
def processes(*commands: Sequence[str]) -> Iterator[list[subprocess.Popen[str]]]:
    """Buying processes that have opened their state and wait for a line to begin."""
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.support.buying", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for command in commands
    ]
    try:
        for process in running:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        yield running
    finally:
        for process in running:
            process.kill()
            process.communicate()


def begin(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.fixture
async def till(database: Database) -> Till:
    return await Till(database).open()


async def test_forty_at_once_against_funds_for_seven_buy_exactly_seven(
    till: Till, database_url: str
) -> None:
    counts = ("20", "20") if database_url.startswith("sqlite") else ("14", "13", "13")
    await till.limit("team:design", budget_nanos=7 * CENT, budget_period="month")
    commands = [(database_url, f"p{n}", count) for n, count in enumerate(counts)]
    with processes(*commands) as running:
        for process in running:
            begin(process)
        granted = [int(process.communicate(timeout=60)[0]) for process in running]
    assert sum(granted) == 7
    proven = await till.proven()
    assert (proven.held_nanos, proven.open_reservations) == (7 * CENT, 7)


async def test_forty_at_once_against_a_budget_that_a_grant_raises_buy_what_it_covers(
    till: Till, database_url: str
) -> None:
    """The grant is made while two processes buy, and revoked before they buy again."""
    await till.limit("team:design", budget_nanos=4 * CENT, budget_period="month")
    commands = [(database_url, f"p{n}", "20") for n in range(2)]
    with processes(*commands) as running:
        for process in running:
            begin(process)
        made = await till.grant("design", 3 * CENT)
        granted = [int(process.communicate(timeout=60)[0]) for process in running]
    assert 4 <= sum(granted) <= 7
    assert (await till.stands())["team"].held_nanos == sum(granted) * CENT
    by = Author("root", NOW_MS)
    await till.database.write(lambda tx: grants.revoke_grant(tx, made.id, by))
    with processes((database_url, "p3", "10")) as (process,):
        begin(process)
        assert process.communicate(timeout=60)[0] == "0\n"
    assert (await till.proven()).held_nanos == sum(granted) * CENT


async def killed_round(till: Till, url: str, name: str, seconds: float) -> list[str]:
    """Let a process buy for so long and kill it; what the upstream billed."""
    with processes((url, name, "4", "forever")) as (process,):
        begin(process)
        time.sleep(seconds)
        process.kill()
        assert process.stdout is not None
        return [line.strip() for line in process.stdout if line.endswith("\n")]


@pytest.mark.parametrize("rounds", [pytest.param(3), pytest.param(40, marks=pytest.mark.long)])
async def test_a_process_that_is_killed_leaves_no_billed_call_out_of_the_books(
    till: Till, database_url: str, rounds: int
) -> None:
    billed: list[str] = []
    for number in range(rounds):
        billed += await killed_round(till, database_url, f"p{number}", 0.05 + 0.037 * (number % 7))
        await till.proven()
    assert billed
    await till.database.write(
        lambda tx: unresolved_reservations.settle_abandoned(
            tx, Abandonment(NOW_MS + 2, 1, 1), limit=1_000
        )
    )
    proven = await till.proven()
    ledger = await till.database.read(lambda tx: tx.fetch("SELECT id FROM ledger"))
    assert set(billed) <= {row["id"] for row in ledger}
    assert proven.open_reservations == 0
    assert proven.spent_nanos >= len(billed) * CENT // 2
