"""Thresholds of a budget: which ones are newly passed, and the sentence that says so."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from gateway.model.caller import PayingLevel, Period
from gateway.model.money import usd

FULL = 100
MOST_ATTEMPTS = 10
_LONGEST_WAIT_MS = 3_600_000
# A key's name is any line of text: characters of links and mentions are not passed to chats.
_UNSAFE = re.compile(r"[^\w .,()+-]")
_IN_PERIOD = {"day": " today", "week": " this week", "month": " this month", "total": ""}


@dataclass(frozen=True, slots=True)
class PassedThreshold:
    """A threshold of an account's budget, passed in one window.

    `name` is the account's, `team` that of a team or of a key's team, "" for the
    organisation. `first_day` is the window's; `resets_ms` None where it never ends. `refused`
    says that an edit was refused because what is left does not cover it.
    """

    account: str
    level: PayingLevel
    name: str
    team: str
    percent: int
    limit_nanos: int
    spent_nanos: int
    held_nanos: int
    period: Period
    first_day: str
    resets_ms: int | None
    refused: bool = False
    owner: str = ""
    """The person responsible for the team, or for the organisation."""


def newly_passed(
    *,
    spent_nanos: int,
    limit_nanos: int,
    percents: Collection[int],
    notified: Collection[int] = (),
    refused: bool = False,
) -> tuple[int, ...]:
    """The thresholds that spending reached and no alert was sent for, lowest first.

    `notified` are those already sent in this window at this limit: another limit resets them.
    Held money does not count, for it may be given back. A budget that had to refuse an edit
    (`refused`) counts as used up, so 100 is passed: what is left seldom covers a ceiling to the
    last cent. Nothing is passed where nothing is spent nor refused, even of a budget of 0.
    """
    if spent_nanos <= 0 and not refused:
        return ()
    return tuple(
        percent
        for percent in sorted(set(percents) - set(notified))
        if spent_nanos * 100 >= percent * limit_nanos or (refused and percent == FULL)
    )


def sentence(passed: PassedThreshold, resets_at: str | None) -> str:
    """The alert as people read it."""
    spent, limit = usd(passed.spent_nanos), usd(passed.limit_nanos)
    who = spender(passed.level, passed.name, passed.team)
    text = f"{who} has spent ${spent} of ${limit}{_IN_PERIOD[passed.period]}"
    if passed.limit_nanos > 0:
        text += f" ({passed.spent_nanos * 100 // passed.limit_nanos} %)"
    text += f": the {passed.percent} % mark is passed."
    if passed.refused and passed.spent_nanos < passed.limit_nanos:
        text += " What is left did not cover an edit, which was refused."
    elif passed.percent >= FULL:
        text += " New edits are refused; stored pictures are still served."
    return text + (f" The budget resets at {resets_at}." if resets_at else "")


def next_wait_ms(
    attempt: int, first_wait_ms: int, most_attempts: int = MOST_ATTEMPTS
) -> int | None:
    """How long to wait after the `attempt`th failed delivery; None to give it up.

    Each wait is four times the one before. With a first one of a second, ten attempts take
    about three and a half hours.
    """
    if attempt >= most_attempts:
        return None
    return min(_LONGEST_WAIT_MS, first_wait_ms << min(2 * (attempt - 1), 40))


def plain(text: str) -> str:
    """Text of others as it may be passed to a chat."""
    return _UNSAFE.sub("·", text)


def spender(level: PayingLevel, name: str, team: str) -> str:
    """The account as the subject of a sentence."""
    if level == "organisation":
        return "The organisation"
    if level == "team":
        return f"The team {plain(name)}"
    return f"The key {plain(name)} of the team {plain(team)}"
