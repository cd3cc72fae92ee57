"""AccountSettings and their names: what people write becomes limits, and back, or says why not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.accounts.rules.account_settings import (
    AccountSettings,
    change_settings,
    complete_settings,
    fields_of,
    settings_as_json,
)
from gateway.accounts.rules.errors import BadValue
from gateway.model.caller import PERIODS, Level, Limits

counts = st.none() | st.integers(0, 10**12)
words = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=20)
lines = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=50)
budgets = st.none() | st.integers(0, 10**18)


@st.composite
def limits(draw: st.DrawFn) -> Limits:
    return Limits(
        budget_nanos=draw(budgets),
        budget_period=draw(st.none() | st.sampled_from(PERIODS)),
        paid_images_per_day=draw(counts),
        requests_per_minute=draw(counts),
        max_in_flight=draw(counts),
        max_reference_images=draw(counts),
        models=draw(st.none() | st.frozensets(words)),
        may_bypass_cache=draw(st.none() | st.booleans()),
    )


@st.composite
def team_terms(draw: st.DrawFn) -> AccountSettings:
    return AccountSettings(
        limits=draw(limits()),
        owner=draw(lines),
        cost_centre=draw(lines),
        webhook_url=draw(st.sampled_from(["", "https://chat.example/hook/1"])),
        warn_percents=draw(st.none() | st.sampled_from([(50,), (10, 90), ()])),
    )


@st.composite
def key_terms(draw: st.DrawFn) -> AccountSettings:
    return AccountSettings(
        limits=draw(limits()),
        tags=draw(st.dictionaries(words, lines, max_size=5)),
        expires_ms=draw(st.none() | st.integers(0, 4_000_000_000_000)),
    )


@given(team_terms())
def test_a_teams_terms_survive_being_written_by_name(terms: AccountSettings) -> None:
    settled = complete_settings(terms, "team")
    assert change_settings(AccountSettings(), "team", settings_as_json(settled, "team")) == settled


@given(key_terms())
def test_a_keys_terms_survive_being_written_by_name(terms: AccountSettings) -> None:
    settled = complete_settings(terms, "key")
    assert change_settings(AccountSettings(), "key", settings_as_json(settled, "key")) == settled


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("budget_usd", "0.37", Limits(budget_nanos=370_000_000, budget_period="month")),
        ("budget_usd", 250, Limits(budget_nanos=250_000_000_000, budget_period="month")),
        ("requests_per_minute", "60", Limits(requests_per_minute=60)),
        ("models", "a, b", Limits(models=frozenset({"a", "b"}))),
        ("models", [], Limits(models=frozenset())),
        ("may_bypass_cache", False, Limits(may_bypass_cache=False)),
    ],
)
def test_limits_are_taken_as_people_write_them(name: str, value: object, expected: Limits) -> None:
    assert change_settings(AccountSettings(), "key", {name: value}).limits == expected


@pytest.mark.parametrize(
    ("level", "name", "value"),
    [
        ("team", "budget_usd", "-1"),
        ("team", "budget_usd", "NaN"),
        ("team", "budget_usd", 0.1),
        ("team", "budget_usd", True),
        ("team", "budget_period", "year"),
        ("team", "paid_images_per_day", -1),
        ("team", "requests_per_minute", "many"),
        ("team", "requests_per_minute", "9" * 40),
        ("team", "max_in_flight", True),
        ("team", "max_reference_images", 1.5),
        ("team", "models", 7),
        ("team", "models", ["a", ""]),
        ("team", "models", "a,\ud800"),
        ("team", "models", [f"m{n}" for n in range(201)]),
        ("key", "models", ",".join(f"m{n}" for n in range(90_000))),
        ("team", "may_bypass_cache", "yes"),
        ("team", "owner", "two\nlines"),
        ("team", "owner", "x" * 201),
        ("team", "cost_centre", "\x00"),
        ("team", "owner", "Ada\x9b2J"),
        ("team", "owner", "Ada\u2028Lovelace"),
        ("team", "cost_centre", "4711\u202e1174"),
        ("key", "tags", {"project": "\x80"}),
        ("key", "tags", {"project": "\u2066atlas\u2069"}),
        ("team", "models", ["a\u202a"]),
        ("team", "webhook_url", "ftp://x"),
        ("team", "webhook_url", "https:///x"),
        ("team", "webhook_url", "https://[x"),
        ("team", "webhook_url", "https://:80/x"),
        ("team", "warn_percents", [0]),
        ("team", "warn_percents", [101]),
        ("team", "warn_percents", "a"),
        ("team", "unlimited", "no"),
        ("key", "tags", {"a b": "c"}),
        ("key", "tags", {"a": 1}),
        ("key", "tags", ["a"]),
        ("key", "tags", {f"t{n}": "" for n in range(33)}),
        ("key", "expires_at", "tomorrow"),
        ("key", "expires_at", "9999-12-31T23:59:59-12:00"),
        ("key", "expires_at", "0001-01-01T00:00:00+12:00"),
        ("key", "expires_at", 12),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_its_name(
    level: Level, name: str, value: object
) -> None:
    with pytest.raises(BadValue) as caught:
        change_settings(AccountSettings(), level, {name: value})
    assert caught.value.param == name
    assert caught.value.message.startswith(name)


@pytest.mark.parametrize("text", ["Ærø · Łódź", "日本語", "שלום", "é\u00a0è", "👩\u200d🎨"])
def test_every_script_is_taken(text: str) -> None:
    assert change_settings(AccountSettings(), "team", {"owner": text}).owner == text


def test_two_hundred_models_are_taken() -> None:
    names = [f"m{n}" for n in range(200)]
    assert change_settings(AccountSettings(), "key", {"models": names}).limits.models == frozenset(
        names
    )


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(BadValue, match=r"Did you mean 'budget_usd'\?"):
        change_settings(AccountSettings(), "team", {"budget_used": "1"})


@pytest.mark.parametrize(
    ("level", "name"), [("organisation", "tags"), ("team", "expires_at"), ("key", "unlimited")]
)
def test_a_term_of_another_level_is_refused(level: Level, name: str) -> None:
    assert name not in fields_of(level)
    with pytest.raises(BadValue, match=name):
        change_settings(AccountSettings(), level, {name: None})


def test_a_budget_keeps_its_period_until_another_is_given() -> None:
    weekly = change_settings(
        AccountSettings(), "team", {"budget_usd": "1", "budget_period": "week"}
    )
    assert change_settings(weekly, "team", {"budget_usd": "2"}).limits.budget_period == "week"


def test_a_budget_taken_away_takes_its_period_along() -> None:
    weekly = change_settings(
        AccountSettings(), "team", {"budget_usd": "1", "budget_period": "week"}
    )
    assert change_settings(weekly, "team", {"budget_usd": None}).limits == Limits()


def test_a_period_without_a_budget_is_refused() -> None:
    with pytest.raises(BadValue, match="budget_usd"):
        change_settings(AccountSettings(), "team", {"budget_period": "week"})


def test_a_budget_and_unlimited_end_each_other() -> None:
    unlimited = change_settings(AccountSettings(), "team", {"unlimited": True})
    bounded = change_settings(unlimited, "team", {"budget_usd": "5"})
    assert (bounded.unlimited, bounded.limits.budget_nanos) == (False, 5_000_000_000)
    again = change_settings(bounded, "team", {"unlimited": True})
    assert (again.unlimited, again.limits.budget_nanos) == (True, None)


def test_a_budget_and_unlimited_together_are_refused() -> None:
    with pytest.raises(BadValue, match="not both"):
        change_settings(AccountSettings(), "team", {"unlimited": True, "budget_usd": "5"})


@pytest.mark.parametrize(
    "written",
    [
        "2027-01-31T18:00:00Z",
        "2027-01-31T19:00:00+01:00",
        "2027-01-31T18:00:00",
        datetime(2027, 1, 31, 18, tzinfo=UTC),
        datetime(2027, 1, 31, 18),
    ],
)
def test_an_expiry_is_taken_in_utc_unless_it_says_otherwise(written: Any) -> None:
    terms = change_settings(AccountSettings(), "key", {"expires_at": written})
    assert settings_as_json(terms, "key")["expires_at"] == "2027-01-31T18:00:00Z"
