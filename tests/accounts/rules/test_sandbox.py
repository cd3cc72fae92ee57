"""What a sandbox key may do: all that a request may contain, nothing that costs."""

from __future__ import annotations

import dataclasses

import pytest

from gateway.accounts.rules.errors import BadValue
from gateway.accounts.rules.sandbox import check_spends_nothing, in_sandbox
from gateway.model.caller import Account, Caller, Limits

EVERY = Limits(
    budget_nanos=1, budget_period="day", paid_images_per_day=2, requests_per_minute=3,
    max_in_flight=4, max_reference_images=5, max_images_per_request=6,
    models=frozenset({"m"}), may_bypass_cache=False, end_user_budget_nanos=7,
    end_user_images_per_day=8,
)  # fmt: skip
OF_REQUESTS = Limits(
    max_reference_images=5, max_images_per_request=6, models=frozenset({"m"}),
    may_bypass_cache=False,
)  # fmt: skip


def caller(key: Limits) -> Caller:
    return Caller(
        key_id="k",
        key_name="tests",
        team="design",
        organisation_account=Account("organisation", "organisation", "organisation", EVERY, True),
        team_account=Account("team:design", "team", "design", EVERY, True),
        key_account=Account("key:k", "key", "tests", key),
    )


def test_limits_of_money_and_shared_rates_are_left_out_and_those_of_requests_kept() -> None:
    found = in_sandbox(caller(EVERY), 60)
    organisation, team, key = found.accounts

    assert found.sandbox
    assert organisation.limits == team.limits == OF_REQUESTS
    assert [account.paused for account in found.accounts] == [False] * 3
    assert key.limits == dataclasses.replace(OF_REQUESTS, requests_per_minute=3, max_in_flight=4)


def test_a_key_without_a_rate_has_the_sandboxs() -> None:
    assert in_sandbox(caller(Limits()), 60).key_account.limits == Limits(requests_per_minute=60)


@pytest.mark.parametrize(
    ("limits", "name"),
    [
        (Limits(budget_nanos=0), "budget_usd"),
        (Limits(paid_images_per_day=1), "paid_images_per_day"),
        (Limits(end_user_budget_nanos=1), "end_user_budget_usd"),
        (Limits(end_user_images_per_day=1), "end_user_images_per_day"),
    ],
)
def test_a_limit_of_money_is_refused_by_name(limits: Limits, name: str) -> None:
    with pytest.raises(BadValue, match=f"leave out {name}") as refused:
        check_spends_nothing(limits)
    assert refused.value.param == name
    check_spends_nothing(OF_REQUESTS)
