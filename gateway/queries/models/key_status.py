"""The status of a key as JSON: the answer of `GET /v1/key`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import create_model

from gateway.accounts.rules.limits import LIMITS, Combine
from gateway.model.caller import Period
from gateway.queries.models.account_fields import model_fields
from gateway.queries.models.read_model import Count, Moment, Money, ReadModel, Texts, optional


class BudgetStatusView(ReadModel):
    """A budget, grants included; null as a limit is unlimited."""

    limit_usd: Money | None
    granted_usd: Money | None = optional()
    period: Period
    spent_usd: Money
    held_usd: Money
    left_usd: Money | None
    resets_at: Moment | None


class ImageQuotaView(ReadModel):
    """The paid images of a day."""

    limit: Count | None
    bought: Count
    held: Count
    left: Count | None
    resets_at: Moment | None


class RateView(ReadModel):
    """The requests of a minute; `left` is what no process has leased yet."""

    limit: Count
    left: Count
    resets_at: Moment | None


class _Level(ReadModel):
    level: Literal["team", "key"]
    name: str
    paused: bool
    budget: BudgetStatusView
    paid_images: ImageQuotaView
    requests_per_minute: RateView | None


class _OrganisationLevel(ReadModel):
    level: Literal["organisation"] = "organisation"
    name: str
    paused: bool
    budget: BudgetStatusView | None = optional()
    paid_images: ImageQuotaView | None = optional()
    requests_per_minute: RateView | None = optional()


class _KeyStatus(ReadModel):
    object: Literal["key"] = "key"
    id: str
    name: str
    team: str
    tags: Texts
    owner: str
    cost_centre: str
    expires_at: Moment | None
    sandbox: bool
    paused: bool
    spendable_usd: Money | None


SHOWN_WITH_USE = frozenset(
    {
        *("budget_usd", "budget_period", "budget_weekday", "budget_month_day"),
        *("paid_images_per_day", "requests_per_minute"),
    }
)
"""The limits that a level shows together with what is used of them."""
COMBINED = [limit for limit in LIMITS if limit.combine is not Combine.EACH]
OF_A_LEVEL = [
    limit for limit in LIMITS if limit.combine is Combine.EACH and limit.name not in SHOWN_WITH_USE
]
_of_a_level = model_fields(OF_A_LEVEL)
_optional: dict[str, Any] = {name: (kind, optional()) for name, (kind, _) in _of_a_level.items()}

LevelView = create_model(
    "LevelView",
    __base__=_Level,
    __doc__="The limits of the key or of its team, and what is used of each.",
    **_of_a_level,
)
OrganisationLevelView = create_model(
    "OrganisationLevelView",
    __base__=_OrganisationLevel,
    __doc__="The limits that the organisation has set; without one, its spending is not shown.",
    **_optional,
)
KeyStatusView = create_model(
    "KeyStatusView",
    __base__=_KeyStatus,
    __doc__="""The key's limits, what is spent, held and left of each, and when each starts again.

    `spendable_usd` is the least that is left over all levels; `levels` are the organisation, the
    team and the key. Null is unlimited or never. Budgets, pauses and amounts are of this moment,
    other limits at most a second old.
    """,
    **model_fields(COMBINED),
    levels=(list[OrganisationLevelView | LevelView], ...),
)
