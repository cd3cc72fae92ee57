"""Limits and other terms of an account as flags of their own names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from gateway.accounts.rules.terms import NAMES
from gateway.model.caller import PERIODS, Level

Command = TypeVar("Command", bound=Callable[..., Any])

NONE = "none"
_HELP: Mapping[str, str] = {
    "budget_usd": "What may be spent in a period, in dollars, such as 0.37.",
    "budget_period": f"The budget's period: {', '.join(PERIODS)} (default month).",
    "paid_images_per_day": "How many pictures may be bought a day.",
    "requests_per_minute": "How many requests may be made a minute, hits too.",
    "max_in_flight": "How many clients may wait at once.",
    "max_reference_images": "How many reference images an edit may bring.",
    "models": "Which models may be used, separated by commas.",
    "may_bypass_cache": "May Cache-Control: no-cache and no-store be sent: true or false.",
    "owner": "Who answers for the team.",
    "cost_centre": "Where its costs are booked.",
    "expires_at": "When the key ends, such as 2027-01-31T18:00:00Z.",
    "webhook_url": "Where warnings before the budget's end are posted.",
    "warn_percents": "At which percentages to warn, such as 50,80,100.",
}


def term_options(level: Level) -> Callable[[Command], Command]:
    """A flag for each term of this level; `none` takes a limit away."""

    def decorate(command: Command) -> Command:
        for name in reversed(NAMES[level]):
            command = _option(name)(command)
        return command

    return decorate


def _option(name: str) -> Callable[[Command], Command]:
    flag = "--" + name.replace("_", "-")
    if name == "unlimited":
        return click.option(flag, is_flag=True, default=None, help="Meant to have no budget.")
    if name == "tags":
        return click.option(
            "--tag", "tags", multiple=True, metavar="NAME=TEXT", help="A tag for reports."
        )
    return click.option(flag, default=None, help=_HELP[name])


def given_terms(level: Level, flags: Mapping[str, Any]) -> dict[str, object]:
    """Those terms that were given as flags, by name."""
    given: dict[str, object] = {}
    for name in NAMES[level]:
        value = flags.get(name)
        if value is None or value == ():
            continue
        given[name] = _value(name, value)
    return given


def _value(name: str, value: Any) -> object:
    if name == "tags":
        pairs = [tag.partition("=") for tag in value]
        if wrong := [tag for tag, equals, _ in pairs if not equals]:
            raise click.BadParameter(f"write a tag as NAME=TEXT, not {wrong[0]!r}")
        return {tag: text for tag, _, text in pairs}
    if isinstance(value, str) and value.lower() == NONE:
        return None
    if name == "may_bypass_cache":
        words = {"true": True, "false": False, "yes": True, "no": False}
        if value.lower() not in words:
            raise click.BadParameter("--may-bypass-cache takes true or false")
        return words[value.lower()]
    return value
