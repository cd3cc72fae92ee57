"""Budgets: the verdict over every level at once."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from gateway.ledger.rules.budget import OverBudget, SpendingPaused, spendable, verdict
from gateway.model.caller import Account, Level, Limits
from gateway.model.reservation import Balance
from gateway.model.windows import Window

RESETS_MS, DAY_RESETS_MS = 111, 222
WINDOW = Window("2026-11-01", "2026-11-30", 0, RESETS_MS)
LEVELS: tuple[Level, ...] = ("organisation", "team", "key")


def asked(
    level: Level = "team",
    *,
    limit: int | None = 100,
    spent: int = 0,
    held: int = 0,
    images_limit: int | None = None,
    images: int = 0,
    images_held: int = 0,
    paused: bool = False,
) -> Balance:
    limits = Limits(budget_nanos=limit, paid_images_per_day=images_limit)
    return Balance(
        Account(level, level, level, limits, paused), spent, held, images, images_held, WINDOW
    )


def refusal(*balances: Balance, ceiling: int = 10, images: int = 1) -> OverBudget:
    found = verdict(balances, ceiling, images, day_resets_ms=DAY_RESETS_MS)
    assert isinstance(found, OverBudget)
    return found


def test_the_last_nano_may_be_spent() -> None:
    assert verdict([asked(spent=90, held=10)], 10, 1, day_resets_ms=0) is None


def test_one_nano_more_may_not() -> None:
    found = refusal(asked(spent=91, held=10))
    assert (found.kind, found.level, found.limit, found.spent, found.held) == (
        "budget",
        "team",
        100,
        91,
        0,
    )
    assert found.resets_ms == RESETS_MS
    assert not found.held_only


def test_what_is_only_held_is_worth_waiting_for() -> None:
    found = refusal(asked(spent=80, held=15 + 10))
    assert found.held == 15
    assert found.held_only


def test_any_level_can_say_no() -> None:
    fits = [asked("organisation"), asked("team"), asked("key")]
    for index, level in enumerate(LEVELS):
        balances = [*fits]
        balances[index] = asked(level, spent=100, held=10)
        assert refusal(*balances).level == level


def test_what_waiting_cannot_cure_comes_before_what_it_can() -> None:
    held = asked("organisation", held=105)
    used_up = asked("key", spent=100, held=10)
    assert refusal(held, used_up).level == "key"


def test_no_limit_is_no_bound() -> None:
    assert verdict([asked(limit=None, spent=10**18)], 10, 1, day_resets_ms=0) is None


def test_a_budget_of_nothing_pays_for_nothing() -> None:
    assert refusal(asked(limit=0, held=10)).limit == 0


def test_an_overrun_leaves_nothing_even_for_a_free_call() -> None:
    assert not refusal(asked(spent=101), ceiling=0).held_only


def test_paid_images_are_bounded_by_the_day() -> None:
    found = refusal(asked(images_limit=5, images=4, images_held=2), images=2)
    assert (found.kind, found.limit, found.spent, found.held) == ("images", 5, 4, 0)
    assert found.resets_ms == DAY_RESETS_MS
    assert not found.held_only


def test_images_in_flight_are_worth_waiting_for() -> None:
    assert refusal(asked(images_limit=5, images=3, images_held=3), images=1).held_only


def test_a_pause_at_any_level_comes_first() -> None:
    found = verdict(
        [asked("organisation", spent=200), asked("team", paused=True)], 10, 1, day_resets_ms=0
    )
    assert isinstance(found, SpendingPaused)
    assert found.level == "team"


def test_spendable_is_the_least_over_the_levels_and_never_below_nothing() -> None:
    assert spendable([asked(limit=None)]) is None
    assert spendable([asked(limit=None), asked(spent=30, held=20), asked(limit=70)]) == 50
    assert spendable([asked(spent=120)]) == 0


AMOUNT = st.integers(0, 200)
BALANCE = st.builds(
    lambda level, limit, spent, held: asked(level, limit=limit, spent=spent, held=held),
    st.sampled_from(LEVELS),
    st.none() | AMOUNT,
    AMOUNT,
    AMOUNT,
)


@given(st.lists(BALANCE, min_size=1, max_size=3), AMOUNT)
def test_what_is_spendable_is_granted_and_no_more(before: list[Balance], ceiling: int) -> None:
    after = [replace(each, held_nanos=each.held_nanos + ceiling) for each in before]
    granted = verdict(after, ceiling, 0, day_resets_ms=0) is None
    left = spendable(before)
    over = any(
        each.account.limits.budget_nanos is not None
        and each.spent_nanos + each.held_nanos > each.account.limits.budget_nanos
        for each in before
    )
    assert granted == (left is None or (ceiling <= left and not over))
