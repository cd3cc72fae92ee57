"""The money of one upstream call, from its reservation to its settlement."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from gateway.model.caller import Account, Period
from gateway.model.edit import Route
from gateway.model.token_usage import TokenUsage
from gateway.model.windows import ALL_TIME, Window

CostKind = Literal["stated", "computed", "confirmed_by_sum", "estimated"]
"""How a cost is known: the upstream stated it, its tokens have a price, it is a ceiling, or a
ceiling whose day the upstream's statement gave as a sum."""
COST_KINDS: tuple[CostKind, ...] = ("stated", "computed", "confirmed_by_sum", "estimated")


class PriceKey(NamedTuple):
    """What the price of a picture depends on. Quality and size are empty where not chosen."""

    upstream: str
    model: str
    quality: str = ""
    size: str = ""


@dataclass(frozen=True, slots=True)
class Reservation:
    """Money and images held for one upstream call, until it is settled or voided.

    `price_nanos` is the configured or confirmed price of one image.
    """

    id: str
    day: str
    ceiling_nanos: int
    images: int
    made_ms: int
    price_key: PriceKey
    price_nanos: int


@dataclass(frozen=True, slots=True)
class CallFacts:
    """The facts of an upstream call in the ledger, besides its cost.

    `asked_model` is the alias that was asked for, `upstream_model` the upstream's own name of the
    model; both are empty where they are `model`.
    """

    request_id: str
    model: str
    route: Route = "edits"
    fingerprint: str = ""
    references: int = 0
    body_bytes: int = 0
    upstream: str = ""
    quality: str = ""
    size: str = ""
    asked_model: str = ""
    upstream_model: str = ""

    @property
    def price_key(self) -> PriceKey:
        return PriceKey(self.upstream, self.model, self.quality, self.size)


@dataclass(frozen=True, slots=True)
class Settlement:
    """The cost and the result of an upstream call.

    `cost_nanos` None means unknown: the reservation's ceiling is booked, marked estimated.
    """

    cost_nanos: int | None
    status: int | None = None
    upstream_request_id: str = ""
    credential: str = ""
    """The upstream key used: its position and last characters, never the secret."""
    answer_bytes: int = 0
    implausible_nanos: int | None = None
    """A cost that is too high to be booked."""
    cost_kind: CostKind = "stated"
    """Of a cost that is known."""
    usage: TokenUsage | None = None
    computed_nanos: int | None = None
    """What the tokens cost by the price table; None where they are not counted or have no price."""
    price_version: str = ""


@dataclass(frozen=True, slots=True)
class Settled:
    """The amounts booked for a reservation."""

    reservation_id: str
    cost_nanos: int
    cost_kind: CostKind
    overrun_nanos: int = 0
    remaining_nanos: int | None = None
    """The spendable amount, the minimum of all levels; None without a budget."""
    stopped_nanos: int | None = None
    """A picture cost this much, far above its price, so that its model was stopped."""
    price_lifted: bool = False
    """So many answers stated no cost that calls no longer wait for the price to be known."""

    @property
    def estimated(self) -> bool:
        """The cost is not known, and booked at the ceiling."""
        return self.cost_kind == "estimated"


@dataclass(frozen=True, slots=True)
class Balance:
    """One account's money in the window that holds `day`; `granted_nanos` raise its budget there.

    `picture_nanos` was reserved for the account's last picture; 0 before the first.
    """

    account: Account
    spent_nanos: int
    held_nanos: int
    images: int
    images_held: int
    window: Window = ALL_TIME
    period: Period = field(default="total")
    granted_nanos: int = 0
    picture_nanos: int = 0

    @property
    def limit_nanos(self) -> int | None:
        """The budget with its grants; None without a budget."""
        budget = self.account.limits.budget_nanos
        return None if budget is None else budget + self.granted_nanos

    @property
    def left_nanos(self) -> int | None:
        """The spendable amount, at least 0; None without a budget."""
        limit = self.limit_nanos
        return None if limit is None else max(0, limit - self.spent_nanos - self.held_nanos)

    @property
    def resets_ms(self) -> int | None:
        return self.window.resets_ms
