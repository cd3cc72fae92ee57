"""Every limit of an account, one row each.

The flags of the command line, the fields of the admin API, the names in `gateway apply` files
and in `[new_team]`, the columns of the table `accounts`, the OpenAPI schemas and the limits in
`GET /v1/key` follow from `LIMITS`. To add a limit: a row here, a field of `Limits`, a column
by a migration, the place where it is enforced, and its line in the documents that
tests/project/test_limits.py names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from gateway.accounts.rules.field_types import (
    COUNT,
    FLAG,
    MONEY,
    MONTH_DAY,
    NAMES,
    PERIOD,
    WEEKDAY,
    AccountField,
)
from gateway.model.caller import PERIODS, Account, Limits


class Combine(StrEnum):
    """How the limits of organisation, team and key combine."""

    EACH = "each level is checked on its own"
    MINIMUM = "the smallest holds"
    INTERSECTION = "what every level allows"
    ALL = "every level must allow it"


@dataclass(frozen=True, slots=True)
class Limit(AccountField):
    """A limit. `key_may_exceed`: a team's own token may set it above the team's."""

    unit: str = ""
    combine: Combine = Combine.EACH
    key_may_exceed: bool = False


LIMITS = (
    Limit(
        "budget_usd", "budget_nanos", MONEY, unit="US dollars",
        help="Maximum spending in one period, in dollars, such as 0.37.",
    ),
    Limit(
        "budget_period", "budget_period", PERIOD, key_may_exceed=True,
        help=f"Period of the budget: {', '.join(PERIODS)} (default month).",
    ),
    Limit(
        "budget_weekday", "budget_weekday", WEEKDAY, key_may_exceed=True,
        help="Weekday on which a weekly budget begins (default monday).",
    ),
    Limit(
        "budget_month_day", "budget_month_day", MONTH_DAY, key_may_exceed=True,
        help="Day of the month on which a monthly budget begins, 1 to 28 (default 1).",
    ),
    Limit(
        "paid_images_per_day", "paid_images_per_day", COUNT, unit="images per day",
        help="Maximum number of images bought per day.",
    ),
    Limit(
        "requests_per_minute", "requests_per_minute", COUNT, unit="requests per minute",
        help="Maximum number of requests per minute, including cache hits.",
    ),
    Limit(
        "max_in_flight", "max_in_flight", COUNT, unit="requests",
        help="Maximum number of paid calls in flight, over all processes; also of requests that "
        "wait, per process.",
    ),
    Limit(
        "max_reference_images", "max_reference_images", COUNT, unit="images",
        combine=Combine.MINIMUM, help="Maximum number of reference images per edit.",
    ),
    Limit(
        "max_images_per_request", "max_images_per_request", COUNT, unit="images",
        combine=Combine.MINIMUM, help="Maximum number of images that one request asks for (`n`).",
    ),
    Limit(
        "models", "models", NAMES, unit="model names", combine=Combine.INTERSECTION,
        help="Allowed models, separated by commas.",
    ),
    Limit(
        "may_bypass_cache", "may_bypass_cache", FLAG, combine=Combine.ALL,
        help="Allow X-Gateway-Cache-Control: no-cache and no-store: true or false.",
    ),
    Limit(
        "end_user_budget_usd", "end_user_budget_nanos", MONEY, unit="US dollars",
        levels=("team", "key"),
        help="Maximum spending of each end user in one period, in dollars. A request must then "
        "name its user.",
    ),
    Limit(
        "end_user_images_per_day", "end_user_images_per_day", COUNT, unit="images per day",
        levels=("team", "key"),
        help="Maximum number of images bought for each end user per day. A request must then name "
        "its user.",
    ),
)  # fmt: skip
LIMITS_BY_NAME = MappingProxyType({limit.name: limit for limit in LIMITS})


def effective(limit: Limit, accounts: Iterable[Account]) -> Any:
    """What holds for a request of these accounts; None is unlimited. Not for `Combine.EACH`."""
    values = [getattr(account.limits, limit.column) for account in accounts]
    given = [value for value in values if value is not None]
    if limit.combine is Combine.ALL:
        return all(given)
    if limit.combine is Combine.INTERSECTION:
        return frozenset.intersection(*given) if given else None
    return min(given, default=None)


def limit_above_team(key: Limits, team: Limits, before: Limits) -> str | None:
    """The name of the first limit of a key that exceeds its team's; `before` is the key's old one.

    An unchanged limit may stay, and an unset limit never exceeds: the team's applies.
    """
    for limit in LIMITS:
        if not limit.key_may_exceed and _differs(limit, key, before) and _above(limit, key, team):
            return limit.name
    return None


def _differs(limit: Limit, one: Limits, other: Limits) -> bool:
    if limit.type is MONEY and one.budget_period != other.budget_period:
        return True
    return bool(getattr(one, limit.column) != getattr(other, limit.column))


def _above(limit: Limit, key: Limits, team: Limits) -> bool:
    """Budgets compare only where the key's period is no longer: more over longer may be less."""
    own, highest = getattr(key, limit.column), getattr(team, limit.column)
    if own is None or highest is None:
        return False
    if limit.type is MONEY and _period_index(key) > _period_index(team):
        return False
    return not own <= highest  # also for sets: some name that the team's lacks


def _period_index(limits: Limits) -> int:
    return PERIODS.index(limits.budget_period or "month")
