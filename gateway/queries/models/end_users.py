"""An end user as JSON: what is kept of a person, and what was deleted."""

from __future__ import annotations

from typing import Literal

from gateway.queries.models.read_model import Count, Json, Moment, Money, ReadModel, read


class EndUserSpendingView(ReadModel):
    """What one key paid for an end user."""

    team: str
    key: str = read("key_id")
    calls: Count
    images: int
    spent_usd: Money = read("spent_nanos")
    first_at: Moment = read("first_ms")
    last_at: Moment = read("last_ms")


class EndUserResultView(ReadModel):
    """A stored result that was bought for an end user.

    `used_by_others` counts requests of others that it answered, as far as single ones are kept.
    """

    fingerprint: str
    team: str
    model: str
    created_at: Moment
    bytes: Count
    used_by_others: Count


class _OfEndUser(ReadModel):
    object: str
    complete: Literal[True]
    names: list[str]
    spending: list[EndUserSpendingView]
    requests: Count
    in_flight: Count
    held_usd: Money
    results: list[EndUserResultView]

    def row(self) -> Json:
        return self.model_dump(exclude={"object", "complete"})


class EndUserView(_OfEndUser):
    """What is kept of an end user. `names` are those under which the person may be kept."""

    object: Literal["end_user"] = "end_user"
    complete: Literal[True] = True


class UnfinishedUserView(ReadModel):
    """The stored results are still being read: repeat the request to wait on."""

    object: Literal["end_user", "forgotten_user"]
    complete: Literal[False] = False
    done: Count
    total: Count


class ForgottenUserView(_OfEndUser):
    """What was deleted of an end user, or with `dry_run` would be.

    The money stays, under "(forgotten)". Calls that are in flight are not forgotten: repeat the
    request when they have ended. `not_reached` says where something of the person may remain.
    """

    object: Literal["forgotten_user"] = "forgotten_user"
    complete: Literal[True] = True
    dry_run: bool
    results_deleted: Count
    not_reached: list[str]
