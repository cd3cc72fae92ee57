"""The settings of an account: its limits and everything else that may be changed.

The command line, the admin API, `gateway apply` and the audit use the same names. This module
turns names and values into `AccountSettings` and back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.accounts.rules.errors import BadValue
from gateway.accounts.rules.field_types import (
    KEEPING,
    PERCENTS,
    SWITCH,
    TAGS,
    TEXT,
    TIME,
    URL,
    AccountField,
)
from gateway.accounts.rules.limits import LIMITS
from gateway.accounts.rules.sandbox import check_spends_nothing
from gateway.model.caller import NO_TAGS, Level, Limits
from gateway.model.suggestions import did_you_mean


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """What may be changed of an account; `FIELDS` says which level has which.

    `unlimited` marks a team that is meant to have no budget. `warn_percents` None means the
    default thresholds. A `sandbox` key is one for good.
    """

    limits: Limits = field(default_factory=Limits)
    unlimited: bool = False
    owner: str = ""
    cost_centre: str = ""
    tags: Mapping[str, str] = field(default_factory=lambda: NO_TAGS)
    expires_ms: int | None = None
    sandbox: bool = False
    webhook_url: str = ""
    warn_percents: tuple[int, ...] | None = None
    keep_inputs: str = ""


_TEAM: tuple[Level, ...] = ("team",)
_KEY: tuple[Level, ...] = ("key",)
_NOT_KEYS: tuple[Level, ...] = ("organisation", "team")
OTHERS = (
    AccountField("unlimited", "unlimited", SWITCH, "Allow the team to have no budget.", _TEAM),
    AccountField("owner", "owner", TEXT, "Person responsible, named in alerts.", _NOT_KEYS),
    AccountField("cost_centre", "cost_centre", TEXT, "Cost centre for the team's spending.", _TEAM),
    AccountField("tags", "tags", TAGS, "Tags for usage reports.", _KEY),
    AccountField(
        "expires_at", "expires_ms", TIME, "Expiry of the key, such as 2027-01-31T18:00:00Z.", _KEY
    ),
    AccountField(
        "sandbox", "sandbox", SWITCH,
        "Answer from the emulator, for nothing; fixed when the key is created.", _KEY,
    ),
    AccountField(
        "webhook_url", "webhook_url", URL, "URL that receives budget warnings.", _NOT_KEYS
    ),
    AccountField(
        "warn_percents", "warn_percents", PERCENTS,
        "Percentages of the budget that cause a warning, such as 50,80,100.", _NOT_KEYS,
    ),
    AccountField(
        "keep_inputs", "keep_inputs", KEEPING,
        "What is kept of edits for the console: off, prompts or all.", _TEAM,
    ),
)  # fmt: skip
FIELDS: tuple[AccountField, ...] = (*LIMITS, *OTHERS)
_NOUNS: Mapping[Level, str] = {"organisation": "An organisation", "team": "A team", "key": "A key"}


def fields_of(level: Level) -> dict[str, AccountField]:
    """The fields that this level has, by name."""
    return {field.name: field for field in FIELDS if level in field.levels}


def unknown_setting(name: str, level: Level, *more: str) -> str:
    """The error message for a setting that this level doesn't have; `more` are known as well."""
    hint = did_you_mean(name, (*fields_of(level), *more))
    return f"{_NOUNS[level]} has no setting {name!r}. {hint}"


def value_in(settings: AccountSettings, field: AccountField) -> Any:
    """The value of a field."""
    return getattr(settings.limits if field in LIMITS else settings, field.column)


def settings_as_json(settings: AccountSettings, level: Level) -> dict[str, object]:
    """Every setting of that level by name, as JSON can hold it; null is unlimited."""
    document: dict[str, object] = {}
    for name, each in fields_of(level).items():
        value = value_in(settings, each)
        document[name] = None if value is None else each.type.as_json(value)
    return document


def settings_from(values: Mapping[str, Any]) -> AccountSettings:
    """The settings whose parsed values are given by column."""
    limits = {limit.column: values[limit.column] for limit in LIMITS}
    others = {other.column: values[other.column] for other in OTHERS}
    return AccountSettings(limits=Limits(**limits), **others)


def change_settings(
    settings: AccountSettings, level: Level, changes: Mapping[str, object]
) -> AccountSettings:
    """`settings` with these values, given by name; None takes a limit away.

    A budget without a period is monthly. Setting a budget ends `unlimited`, and the other way
    round, unless both are given. Raises BadValue, naming the field.
    """
    known = fields_of(level)
    parsed: dict[str, Any] = {}
    for name, value in changes.items():
        if name not in known:
            raise BadValue(unknown_setting(name, level), name)
        parsed[known[name].column] = known[name].type.parse(name, value)
    if parsed.get("budget_nanos") is not None:
        parsed.setdefault("unlimited", False)
    elif parsed.get("unlimited"):
        parsed["budget_nanos"] = None
    new = settings_from({each.column: value_in(settings, each) for each in FIELDS} | parsed)
    if parsed.get("budget_period") and not new.limits.have_budget:
        raise BadValue("budget_period needs a budget: give budget_usd as well.", "budget_period")
    return complete_settings(new, level)


def complete_settings(settings: AccountSettings, level: Level) -> AccountSettings:
    """`settings` with the default period, checked. Raises BadValue."""
    limits = settings.limits
    period = (limits.budget_period or "month") if limits.have_budget else None
    new = replace(settings, limits=replace(limits, budget_period=period))
    if new.unlimited and limits.budget_nanos is not None:
        raise BadValue("A team has a budget or is unlimited, not both.", "unlimited")
    if new.sandbox:
        check_spends_nothing(limits)
    known = fields_of(level)
    for name, value in settings_as_json(new, level).items():
        known[name].type.parse(name, value)
    return new
