"""Limits compared: which of a key's would go beyond its team's."""

from __future__ import annotations

from gateway.model.caller import PERIODS, Limits, Period

_COUNTS = (
    "paid_images_per_day",
    "requests_per_minute",
    "max_in_flight",
    "max_reference_images",
)


def beyond(limits: Limits, above: Limits, before: Limits) -> str | None:
    """The public name of the first limit that is above the one of the account above.

    What stays as it was `before` may stay. An unset limit is never beyond: the account above
    bounds it. A budget is compared where its period is no longer than the one above, because
    a larger sum over a longer time may well be less.
    """
    if _budget(limits) != _budget(before) and _budget_beyond(limits, above):
        return "budget_usd"
    for name in _COUNTS:
        own, highest = getattr(limits, name), getattr(above, name)
        if own != getattr(before, name) and None not in (own, highest) and own > highest:
            return name
    return _choice_beyond(limits, above, before)


def _budget(limits: Limits) -> tuple[int | None, Period | None]:
    return limits.budget_nanos, limits.budget_period


def _budget_beyond(limits: Limits, above: Limits) -> bool:
    if limits.budget_nanos is None or above.budget_nanos is None:
        return False
    own, other = limits.budget_period or "month", above.budget_period or "month"
    return PERIODS.index(own) <= PERIODS.index(other) and limits.budget_nanos > above.budget_nanos


def _choice_beyond(limits: Limits, above: Limits, before: Limits) -> str | None:
    models, bypass = limits.models, limits.may_bypass_cache
    if models != before.models and models and above.models is not None and models - above.models:
        return "models"
    if bypass != before.may_bypass_cache and bypass and above.may_bypass_cache is False:
        return "may_bypass_cache"
    return None
