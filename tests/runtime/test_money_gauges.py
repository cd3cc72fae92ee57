"""Gauges of money: sums of all days, and names that share a series."""

from __future__ import annotations

from datetime import UTC

import pytest

from gateway.accounts.tables.audit import Author
from gateway.database.database import Database
from gateway.ledger.tables import corrections
from gateway.runtime.money_gauges import PAST_MS, MoneyGauges, set_money
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.metrics.metrics import MOST_MODELS
from tests.support.exposition import nanos, samples_of, total
from tests.support.funds import CALLER, CENT, DAY_MS, NOW_MS, Till, caller

OTHER, ART = caller("press", "k9"), caller("art", "k0")
LONG_AGO_MS = NOW_MS - 3 * DAY_MS
SPENT = "gateway_ledger_spent_dollars"


@pytest.fixture
async def till(database: Database) -> Till:
    """A call three days ago, and two today."""
    till = await Till(database).open(callers=(CALLER, OTHER))
    await till.reserve("old", 3 * CENT, images=3, at=LONG_AGO_MS)
    await till.settle("old", 3 * CENT, at=LONG_AGO_MS)
    await till.reserve("new")
    await till.settle("new")
    await till.reserve("press", by=OTHER, model="m2")
    await till.settle("press", None)
    return till


async def shown(till: Till, gauges: MoneyGauges, metrics: Metrics, at: int = NOW_MS) -> str:
    set_money(metrics, await till.database.read(lambda tx: gauges.read(tx, at)))
    return metrics.exposition()[0].decode()


async def test_sums_are_of_all_days(till: Till) -> None:
    text = await shown(till, MoneyGauges(UTC), Metrics("0"))

    assert nanos(text, SPENT, team="design") == 4 * CENT
    assert nanos(text, SPENT, team="press", model="m2") == CENT
    assert nanos(text, "gateway_ledger_estimated_dollars") == CENT
    assert nanos(text, "gateway_ledger_key_spent_dollars", key="k1") == 4 * CENT
    assert total(text, "gateway_ledger_pictures", team="design") == 4
    assert total(text, "gateway_ledger_first_booking_timestamp_seconds") == LONG_AGO_MS / 1000


async def test_a_correction_of_a_day_long_ago_appears_after_ten_minutes(till: Till) -> None:
    gauges, metrics = MoneyGauges(UTC), Metrics("0")
    await shown(till, gauges, metrics)
    by = Author("root", NOW_MS, "the invoice")
    await till.database.write(lambda tx: corrections.correct(tx, "req-old", CENT, by))
    await till.database.write(lambda tx: corrections.correct(tx, "req-new", 2 * CENT, by))
    soon = await shown(till, gauges, metrics, NOW_MS + PAST_MS - 1)
    later = await shown(till, gauges, metrics, NOW_MS + PAST_MS)

    assert nanos(soon, SPENT, team="design") == 5 * CENT
    assert nanos(later, SPENT, team="design") == 3 * CENT


async def test_nothing_is_lost_at_midnight(till: Till) -> None:
    gauges, metrics = MoneyGauges(UTC), Metrics("0")
    texts = [await shown(till, gauges, metrics, NOW_MS + days * DAY_MS) for days in range(4)]

    assert {nanos(text, SPENT) for text in texts} == {5 * CENT}


async def test_teams_and_keys_beyond_the_bound_share_a_series(till: Till) -> None:
    text = await shown(till, MoneyGauges(UTC), Metrics("0", max_teams=1, max_keys=1))

    assert nanos(text, SPENT) == 5 * CENT
    assert {each.labels["team"] for each in samples_of(text, SPENT)} == {"design", "other"}
    assert {
        each.labels["key"] for each in samples_of(text, "gateway_ledger_key_spent_dollars")
    } == {"k1", "other"}


async def test_labels_at_the_bound_follow_from_the_ledger_alone(till: Till) -> None:
    await till.open(callers=(ART,))
    await till.reserve("art", by=ART, model="m0")
    await till.settle("art", 2 * CENT)
    restarted, one, another = (Metrics("0", max_teams=1, max_keys=1) for _ in range(3))
    one.expect_cost(model="m2", team="press", key_id="k9")
    another.expect_cost(model="m0", team="art", key_id="k0")
    another.learn_models(f"model-{number}" for number in range(MOST_MODELS))
    seen = [await labels(till, metrics) for metrics in (restarted, one, another)]
    by = Author("root", NOW_MS, "the invoice")
    await till.database.write(lambda tx: corrections.correct(tx, "req-old", 0, by))
    later = [await labels(till, Metrics("0", max_teams=1, max_keys=1), days) for days in range(4)]

    assert {("design", "k1"), ("other", "other")} < seen[0]
    assert {("other", "m0"), ("other", "m2")} < seen[0]
    assert all(found == seen[0] for found in (*seen, *later))


async def labels(till: Till, metrics: Metrics, days: int = 0) -> set[tuple[str, ...]]:
    """The labels of money by team and model, and by team and key."""
    text = await shown(till, MoneyGauges(UTC), metrics, NOW_MS + days * DAY_MS)
    by_key = samples_of(text, "gateway_ledger_key_spent_dollars")
    return {
        tuple(each.labels[name] for name in ("team", "model", "key") if name in each.labels)
        for each in (*samples_of(text, SPENT), *by_key)
    }
