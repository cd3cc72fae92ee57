"""Matching a statement with the ledger: whose line is whose call, and what is left over."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from gateway.ledger.rules.statement_lines import BilledCall, StatementLine
from gateway.ledger.rules.statement_matching import BilledPeriod, LedgerCall, Matching, match

ALL = BilledPeriod(0, 10**15)


def billed(upstream: str, cost: int, ours: str = "", at_ms: int = 100) -> BilledCall:
    return BilledCall(StatementLine(1, upstream, ours, at_ms, cost), cost)


def known(
    name: str, cost: int, upstream: str = "", ours: str = "", *, estimated: bool = False,
    at_ms: int = 100,
) -> LedgerCall:  # fmt: skip
    ids = (upstream,) if upstream else ()
    return LedgerCall(name, ours, ids, cost, estimated, at_ms, "2026-11-25")


def said(matching: Matching) -> list[tuple[str, int, int]]:
    return [(each.what, each.before_nanos, each.after_nanos) for each in matching.findings]


def test_a_call_is_found_by_the_upstreams_request_id() -> None:
    found = match([billed("u1", 5)], [known("a", 5, "u1")], ALL)
    assert (found.findings, len(found.agreed)) == ((), 1)


def test_a_call_whose_answer_never_came_is_found_by_our_request_id() -> None:
    found = match([billed("u1", 5, "r1")], [known("a", 9, ours="r1", estimated=True)], ALL)
    assert said(found) == [("differing", 9, 5)]


def test_a_call_with_an_id_of_the_upstream_is_never_taken_for_another_by_ours() -> None:
    """A first try was billed though it failed; the second is the call in the ledger."""
    lines = [billed("u1", 5, "r1"), billed("u2", 5, "r1")]
    found = match(lines, [known("a", 5, "u2", "r1")], ALL)
    assert said(found) == [("missing", 0, 5)]
    (missing,) = found.findings
    assert missing.billed is not None
    assert missing.billed.request_id == "u1"


def test_an_estimate_that_was_right_is_confirmed() -> None:
    found = match([billed("u1", 5)], [known("a", 5, "u1", estimated=True)], ALL)
    assert said(found) == [("confirmed", 5, 5)]


def test_what_was_not_billed_is_extra_and_what_cost_nothing_is_not() -> None:
    calls = [known("a", 5, "u1"), known("b", 0, "u2"), known("c", 0, "u3", estimated=True)]
    assert said(match([], calls, ALL)) == [("extra", 5, 0), ("extra", 0, 0)]


def test_what_was_billed_at_nothing_is_not_missing() -> None:
    assert said(match([billed("u1", 0)], [], ALL)) == []


def test_near_the_ends_of_a_statement_nothing_is_extra() -> None:
    span = BilledPeriod(1_000, 2_000, edge_ms=100)
    calls = [known(str(at), 5, at_ms=at) for at in (500, 1_050, 1_100, 1_500, 1_899, 1_900, 2_500)]
    found = match([], calls, span)
    assert [each.call.at_ms for each in found.findings if each.call] == [1_100, 1_500, 1_899]
    assert [call.at_ms for call in found.undecided] == [500, 1_050, 1_900, 2_500]


def test_a_call_near_the_end_that_is_on_the_statement_is_matched() -> None:
    span = BilledPeriod(1_000, 2_000, edge_ms=100)
    found = match([billed("u1", 5)], [known("a", 7, "u1", at_ms=2_050)], span)
    assert said(found) == [("differing", 7, 5)]


names = st.sampled_from(["", "1", "2", "3"])
costs = st.integers(0, 3)
ids = st.lists(st.tuples(names, names, costs, st.integers(0, 9)), max_size=8)


@st.composite
def statements(draw: st.DrawFn) -> list[BilledCall]:
    """Lines added up: of each upstream id one, and of each of ours that has none."""
    found: dict[tuple[str, str], BilledCall] = {}
    for upstream, ours, cost, at_ms in draw(ids):
        key = ("u", upstream) if upstream else ("r", ours)
        if upstream or ours:
            found.setdefault(key, billed(upstream, cost, ours, at_ms))
    return list(found.values())


@st.composite
def ledgers(draw: st.DrawFn) -> list[LedgerCall]:
    drawn = draw(
        st.lists(st.tuples(names, names, costs, st.integers(0, 9), st.booleans()), max_size=8)
    )
    return [
        known(f"c{index}", cost, upstream, ours, estimated=estimated, at_ms=at_ms)
        for index, (upstream, ours, cost, at_ms, estimated) in enumerate(drawn)
    ]


def booked(calls: list[LedgerCall], found: Matching) -> list[LedgerCall]:
    """The ledger once it is corrected, as `state.reconciling` does it."""
    by_id = {call.id: call for call in calls}
    for number, each in enumerate(found.findings):
        line = each.billed
        if each.call is None and line is not None:
            by_id[f"new{number}-{line.request_id}-{line.client_request_id}"] = known(
                f"new{number}-{line.request_id}-{line.client_request_id}",
                line.cost_nanos, line.request_id, line.client_request_id, at_ms=line.line.at_ms,
            )  # fmt: skip
        elif each.call is not None:
            ids = each.call.upstream_ids or ((line.request_id,) if line and line.request_id else ())
            by_id[each.call.id] = replace(
                each.call, cost_nanos=each.after_nanos, estimated=False, upstream_ids=ids
            )
    return list(by_id.values())


@given(statements(), ledgers())
def test_what_is_booked_makes_the_ledger_cost_what_was_billed(
    lines: list[BilledCall], calls: list[LedgerCall]
) -> None:
    after = booked(calls, match(lines, calls, ALL))
    assert sum(call.cost_nanos for call in after) == sum(line.cost_nanos for line in lines)


@given(statements(), ledgers())
def test_to_reconcile_twice_is_to_reconcile_once(
    lines: list[BilledCall], calls: list[LedgerCall]
) -> None:
    after = booked(calls, match(lines, calls, ALL))
    assert match(lines, after, ALL).findings == ()


@given(statements(), ledgers(), st.integers(0, 9), st.integers(0, 9))
def test_what_is_left_undecided_is_all_that_lies_between_the_two(
    lines: list[BilledCall], calls: list[LedgerCall], first: int, last: int
) -> None:
    found = match(lines, calls, BilledPeriod(first, last, 1))
    after = sum(call.cost_nanos for call in booked(calls, found))
    undecided = sum(call.cost_nanos for call in found.undecided)
    assert after - undecided == sum(line.cost_nanos for line in lines)


@given(statements(), ledgers())
def test_every_line_and_every_call_is_used_once(
    lines: list[BilledCall], calls: list[LedgerCall]
) -> None:
    found = match(lines, calls, ALL)
    paired = [(each.billed, each.call) for each in found.findings] + list(found.agreed)
    of_lines = [id(line) for line, _ in paired if line]
    of_calls = [call.id for _, call in paired if call]
    assert len(set(of_lines)) == len(of_lines)
    assert len(set(of_calls)) == len(of_calls)
    assert {id(line) for line in lines if line.cost_nanos} <= set(of_lines)
