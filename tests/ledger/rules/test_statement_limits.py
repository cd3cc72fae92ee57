"""What a statement is refused for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.ledger.rules.statement_limits import ChangeSize, allowed, objections

DOLLAR = 1_000_000_000
SMALL = ChangeSize(
    calls=100, extra=0, changed_nanos=0, sum_nanos=100 * DOLLAR, billed_nanos=100 * DOLLAR,
    booked_nanos=100 * DOLLAR,
)  # fmt: skip


@pytest.mark.parametrize(
    ("extra", "calls", "refused"), [(5, 5, False), (6, 300, False), (6, 299, True), (9, 9, True)]
)
def test_more_than_5_calls_and_2_percent_of_them_extra(
    extra: int, calls: int, refused: bool
) -> None:
    found = objections(replace(SMALL, extra=extra, calls=calls))
    assert bool(found) == refused


@pytest.mark.parametrize(
    ("changed", "whole", "refused"),
    [
        (DOLLAR, DOLLAR, False),
        (DOLLAR + 1, 20 * DOLLAR + 20, False),
        (DOLLAR + 1, 20 * DOLLAR, True),
        (2 * DOLLAR, 0, True),
    ],
)
def test_more_than_a_dollar_and_5_percent_changed(changed: int, whole: int, refused: bool) -> None:
    found = objections(replace(SMALL, changed_nanos=changed, sum_nanos=whole))
    assert bool(found) == refused


@pytest.mark.parametrize(
    ("billed", "refused"),
    [(49 * DOLLAR, False), (100 * DOLLAR, True), (10**6 * DOLLAR, True), (DOLLAR // 100, True),
     (0, False), (-DOLLAR, False)],
)  # fmt: skip
def test_amounts_in_another_unit(billed: int, refused: bool) -> None:
    found = objections(replace(SMALL, billed_nanos=billed, booked_nanos=DOLLAR))
    assert bool(found) == refused
    assert all(each.percent is None for each in found)


def test_a_change_that_is_allowed_is_no_reason_but_another_unit_is() -> None:
    found = objections(
        replace(SMALL, extra=40, changed_nanos=30 * DOLLAR, billed_nanos=10**6 * DOLLAR)
    )
    assert [each.percent for each in found] == [None, 40, 30]
    assert allowed(found, None) == found
    assert [each.percent for each in allowed(found, 39)] == [None, 40]
    assert [each.percent for each in allowed(found, 40)] == [None]
