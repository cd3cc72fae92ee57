"""Budgets: whether a call can be paid for at every level."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from gateway.model.caller import Account, PayingLevel
from gateway.model.reservation import Balance


@dataclass
class OverBudget(Exception):
    """A level's budget or image limit is not sufficient; nothing was held.

    Amounts are nano-dollars if `kind` is "budget", images if it is "images". `held` is the amount
    of calls in flight, `needed` that of the refused call. `held_only` is true if the call would
    fit without the held amount: worth a short wait.
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
    def level(self) -> PayingLevel:
        return self.account.level


@dataclass
class EndUserMissing(Exception):
    """The account limits each end user, and the call names none; nothing was held."""

    account: Account

    def __post_init__(self) -> None:
        super().__init__(f"{self.account.id} needs an end user")


@dataclass
class SpendingPaused(Exception):
    """Paid calls are paused at this level; nothing was held."""

    account: Account

    def __post_init__(self) -> None:
        super().__init__(f"{self.account.id} is paused")

    @property
    def level(self) -> PayingLevel:
        return self.account.level


@dataclass
class TooManyInFlight(Exception):
    """As many paid calls of this level are in flight as its limit permits; nothing was held."""

    account: Account

    def __post_init__(self) -> None:
        super().__init__(f"{self.account.id} has no further call in flight")


def verdict(
    asked: Sequence[Balance], ceiling_nanos: int, images: int, *, day_resets_ms: int
) -> OverBudget | SpendingPaused | None:
    """The reason that a call cannot be paid for, or None.

    `asked` are the balances of every level, outermost first; their held amounts include the
    call. A pause comes first, then a limit that is used up, then one that calls in flight hold.
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
    """The spendable amount: the minimum of all levels, at least 0; None without a budget."""
    left = (balance.left_nanos for balance in balances)
    return min((nanos for nanos in left if nanos is not None), default=None)


def images_left(balances: Iterable[Balance]) -> int | None:
    """The images that can be bought today: the minimum of all levels; None without a limit."""
    return min(
        (
            max(
                0, balance.account.limits.paid_images_per_day - balance.images - balance.images_held
            )
            for balance in balances
            if balance.account.limits.paid_images_per_day is not None
        ),
        default=None,
    )


def _over_budget(asked: Balance, ceiling_nanos: int) -> OverBudget | None:
    limit = asked.limit_nanos
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
