"""A caller: a valid key, and the accounts above it with their limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

Level = Literal["organisation", "team", "key"]
PayingLevel = Literal["organisation", "team", "key", "user"]
"""A level, or one end user of a team or a key."""
Period = Literal["day", "week", "month", "total"]
Keeping = Literal["off", "prompts", "all"]
KEEPINGS: tuple[Keeping, ...] = ("off", "prompts", "all")
"""What may be kept of an edit: nothing, its prompt, or its pictures too."""
PERIODS: tuple[Period, ...] = ("day", "week", "month", "total")
LEVELS: tuple[Level, ...] = ("organisation", "team", "key")
ORGANISATION = "organisation"
NO_TAGS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one account; None means unlimited at this level."""

    budget_nanos: int | None = None
    budget_period: Period | None = None
    budget_weekday: int | None = None
    budget_month_day: int | None = None
    paid_images_per_day: int | None = None
    requests_per_minute: int | None = None
    max_in_flight: int | None = None
    max_reference_images: int | None = None
    max_images_per_request: int | None = None
    models: frozenset[str] | None = None
    may_bypass_cache: bool | None = None
    end_user_budget_nanos: int | None = None
    end_user_images_per_day: int | None = None

    @property
    def have_budget(self) -> bool:
        """Is there a budget, of the account or of each end user, that has a period?"""
        return not (self.budget_nanos is None and self.end_user_budget_nanos is None)

    @property
    def limit_end_users(self) -> bool:
        """Does each end user have limits of their own here?"""
        return not (self.end_user_budget_nanos is None and self.end_user_images_per_day is None)


@dataclass(frozen=True, slots=True)
class Account:
    """One level with limits: the organisation, a team, a key, or an end user of one of these.

    `id` is "organisation", "team:NAME", "key:ID" or "user:ACCOUNT/NAME"; balances are booked
    under it.
    """

    id: str
    level: PayingLevel
    name: str
    limits: Limits = Limits()
    paused: bool = False


@dataclass(frozen=True, slots=True)
class RateStatus:
    """The tightest request rate of a caller."""

    limit: int
    remaining: int
    reset_seconds: int


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of a request: a valid key and the accounts above it."""

    key_id: str
    key_name: str
    team: str
    organisation_account: Account
    team_account: Account
    key_account: Account
    owner: str = ""
    cost_centre: str = ""
    tags: Mapping[str, str] = field(default_factory=lambda: NO_TAGS)
    end_user: str = ""
    """The person for whom the request is made, as kept; empty where none is named."""
    keep_inputs: str = ""
    """What the team keeps of its edits; empty is the gateway's own setting."""
    sandbox: bool = False
    """Is it answered by the emulator, and paid for by nobody?"""

    @property
    def accounts(self) -> tuple[Account, Account, Account]:
        """Every paying account, in the order of locking."""
        return (self.organisation_account, self.team_account, self.key_account)

    def budget_name(self, level: PayingLevel) -> str:
        """The name of a level's budget in listings and commands."""
        names = {"team": self.team, "key": f"{self.team}/{self.key_name}"}
        return names.get(level, ORGANISATION)
