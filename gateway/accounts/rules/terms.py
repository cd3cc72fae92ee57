"""The terms of an account: its limits and what else may be changed of it, and their names.

Command line, admin API, `apply` and audit speak of terms by the same names; this is where
names and text become `Terms` and back.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from dataclasses import fields as fields_of
from types import MappingProxyType
from typing import Any

from gateway.accounts.rules import field_values
from gateway.accounts.rules.errors import BadValue
from gateway.model.caller import NO_TAGS, Level, Limits
from gateway.model.money import usd
from gateway.model.units import time_text

_OF_LIMITS = frozenset(each.name for each in fields_of(Limits))

LIMIT_NAMES = (
    "budget_usd",
    "budget_period",
    "paid_images_per_day",
    "requests_per_minute",
    "max_in_flight",
    "max_reference_images",
    "models",
    "may_bypass_cache",
)
_WARNINGS = ("webhook_url", "warn_percents")
NAMES: Mapping[Level, tuple[str, ...]] = MappingProxyType(
    {
        "organisation": (*LIMIT_NAMES, *_WARNINGS),
        "team": (*LIMIT_NAMES, "unlimited", "owner", "cost_centre", *_WARNINGS),
        "key": (*LIMIT_NAMES, "tags", "expires_at"),
    }
)


@dataclass(frozen=True, slots=True)
class Terms:
    """What may be changed of an account; `NAMES` says which level has which.

    `unlimited` marks a team that is meant to have no budget. `warn_percents` None means the
    usual thresholds.
    """

    limits: Limits = field(default_factory=Limits)
    unlimited: bool = False
    owner: str = ""
    cost_centre: str = ""
    tags: Mapping[str, str] = field(default_factory=lambda: NO_TAGS)
    expires_ms: int | None = None
    webhook_url: str = ""
    warn_percents: tuple[int, ...] | None = None


def facts_of(terms: Terms, level: Level) -> dict[str, object]:
    """Every term of that level by its name, as JSON can hold it; null is unlimited."""
    limits = terms.limits
    budget = limits.budget_nanos
    facts: dict[str, object] = {
        "budget_usd": None if budget is None else usd(budget),
        "budget_period": limits.budget_period,
        "paid_images_per_day": limits.paid_images_per_day,
        "requests_per_minute": limits.requests_per_minute,
        "max_in_flight": limits.max_in_flight,
        "max_reference_images": limits.max_reference_images,
        "models": None if limits.models is None else sorted(limits.models),
        "may_bypass_cache": limits.may_bypass_cache,
        "unlimited": terms.unlimited,
        "owner": terms.owner,
        "cost_centre": terms.cost_centre,
        "tags": dict(terms.tags),
        "expires_at": None if terms.expires_ms is None else time_text(terms.expires_ms),
        "webhook_url": terms.webhook_url,
        "warn_percents": None if terms.warn_percents is None else list(terms.warn_percents),
    }
    return {name: facts[name] for name in NAMES[level]}


def amended(terms: Terms, level: Level, given: Mapping[str, object]) -> Terms:
    """`terms` with what is given by name put in its place; None takes a limit away.

    A budget without a period is one of a month. A budget ends a team's being unlimited, and
    the other way round, unless both are given. Raises BadValue, naming the field.
    """
    for name in given:
        if name not in NAMES[level]:
            raise BadValue(_unknown(name, level), name)
    parsed: dict[str, Any] = {
        _FIELDS[name][0]: _FIELDS[name][1](name, value) for name, value in given.items()
    }
    if parsed.get("budget_nanos") is not None:
        parsed.setdefault("unlimited", False)
    elif parsed.get("unlimited"):
        parsed["budget_nanos"] = None
    limits = {name: parsed.pop(name) for name in list(parsed) if name in _OF_LIMITS}
    new = replace(terms, limits=replace(terms.limits, **limits), **parsed)
    if limits.get("budget_period") and new.limits.budget_nanos is None:
        raise BadValue("budget_period needs a budget: give budget_usd as well.", "budget_period")
    return completed(new, level)


def completed(terms: Terms, level: Level) -> Terms:
    """`terms` with the default period, checked. Raises BadValue."""
    limits = terms.limits
    period = None if limits.budget_nanos is None else (limits.budget_period or "month")
    new = replace(terms, limits=replace(limits, budget_period=period))
    if new.unlimited and limits.budget_nanos is not None:
        raise BadValue("A team has a budget or is unlimited, not both.", "unlimited")
    for name, value in facts_of(new, level).items():
        _FIELDS[name][1](name, value)
    return new


def _unknown(name: str, level: Level) -> str:
    near = difflib.get_close_matches(name, NAMES[level], n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(NAMES[level])}."
    return f"{name!r} is nothing that the {level} has; {hint}"


# Each name, the field of Terms or of Limits that it is, and what makes a value of it.
_FIELDS: Mapping[str, tuple[str, Callable[[str, object], object]]] = MappingProxyType(
    {
        "budget_usd": ("budget_nanos", field_values.money_of),
        "budget_period": ("budget_period", field_values.period_of),
        "paid_images_per_day": ("paid_images_per_day", field_values.count_of),
        "requests_per_minute": ("requests_per_minute", field_values.count_of),
        "max_in_flight": ("max_in_flight", field_values.count_of),
        "max_reference_images": ("max_reference_images", field_values.count_of),
        "models": ("models", field_values.models_of),
        "may_bypass_cache": ("may_bypass_cache", field_values.flag_of),
        "unlimited": ("unlimited", lambda name, value: bool(field_values.flag_of(name, value))),
        "owner": ("owner", field_values.text_of),
        "cost_centre": ("cost_centre", field_values.text_of),
        "tags": ("tags", field_values.tags_of),
        "expires_at": ("expires_ms", field_values.moment_of),
        "webhook_url": ("webhook_url", field_values.url_of),
        "warn_percents": ("warn_percents", field_values.percents_of),
    }
)
