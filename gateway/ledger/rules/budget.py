"""Budgets: may this call be paid for, at every level at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from gateway.model.caller import Account, Level
from gateway.model.reservation import Balance


@dataclass
class OverBudget(Exception):
    """A level's money or paid images don't suffice; nothing was held.

    `limit`, `spent` and `held` are nano-dollars where `kind` is "budget", and pictures where
    it is "images". `held` is what calls in flight hold, without the one that was asked for,
    which is `needed`.
    `held_only` says that it would have fitted if nothing were held: worth a short wait.
    """

    account: Account
    kind: Literal["budget", "images"]
    limit: int
    spent: int
    held: int
    needed: int
    resets_ms: int | None
    held_only: bool

    def __post_init__(self) -> None:
        super().__init__(f"{self.account.id} has no {self.kind} left")

    @property
    def level(self) -> Level:
        return self.account.level


@dataclass
class SpendingPaused(Exception):
    """Paid calls are paused at this level; nothing was held."""

    account: Account

    def __post_init__(self) -> None:
        super().__init__(f"{self.account.id} is paused")

    @property
    def level(self) -> Level:
        return self.account.level


def verdict(
    asked: Sequence[Balance], ceiling_nanos: int, images: int, *, day_resets_ms: int
) -> OverBudget | SpendingPaused | None:
    """Why a call may not be paid for, or None where it may.

    `asked` are the balances of every level, outermost first, with the call's ceiling and
    images already among what is held. A pause comes first, then what waiting can't cure,
    then what only money in flight stands in the way of.
    """
    for balance in asked:
        if balance.account.paused:
            return SpendingPaused(balance.account)
    over = [
        refusal
        for balance in asked
        for refusal in (
            _over_budget(balance, ceiling_nanos),
            _over_images(balance, images, day_resets_ms),
        )
        if refusal is not None
    ]
    lasting = (refusal for refusal in over if not refusal.held_only)
    return next(lasting, over[0] if over else None)


def spendable(balances: Iterable[Balance]) -> int | None:
    """What can be spent now: the least over the levels, at least 0; None without a budget."""
    return min(
        (
            max(0, balance.account.limits.budget_nanos - balance.spent_nanos - balance.held_nanos)
            for balance in balances
            if balance.account.limits.budget_nanos is not None
        ),
        default=None,
    )


def _over_budget(asked: Balance, ceiling_nanos: int) -> OverBudget | None:
    limit = asked.account.limits.budget_nanos
    if limit is None or asked.spent_nanos + asked.held_nanos <= limit:
        return None
    return OverBudget(
        account=asked.account,
        kind="budget",
        limit=limit,
        spent=asked.spent_nanos,
        held=asked.held_nanos - ceiling_nanos,
        needed=ceiling_nanos,
        resets_ms=asked.resets_ms,
        held_only=asked.spent_nanos + ceiling_nanos <= limit,
    )


def _over_images(asked: Balance, images: int, day_resets_ms: int) -> OverBudget | None:
    limit = asked.account.limits.paid_images_per_day
    if limit is None or asked.images + asked.images_held <= limit:
        return None
    return OverBudget(
        account=asked.account,
        kind="images",
        limit=limit,
        spent=asked.images,
        held=asked.images_held - images,
        needed=images,
        resets_ms=day_resets_ms,
        held_only=asked.images + images <= limit,
    )
