"""The stored results as JSON: statistics, a purge, a check of every digest."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from gateway.queries.models.read_model import (
    Count,
    CountByName,
    Day,
    Json,
    Moment,
    Money,
    MoneyByName,
    ReadModel,
    Share,
    read,
)


class EntryView(ReadModel):
    """A stored result, without its picture."""

    fingerprint: str = read("key")
    team: str
    key: str = read("key_id")
    model: str
    created_at: Moment = read("created_ms")
    expires_at: Moment = read("expires_ms")
    bytes: Count = read("body_bytes")
    cost_usd: Money | None = read("cost_nanos")
    reference_images: Annotated[Count, BeforeValidator(len)] = read("references")
    request_id: str


class ReuseView(ReadModel):
    """How often a stored result was used without a call, and what that saved."""

    fingerprint: str
    model: str
    uses: Count
    saved_usd: Money = read("saved_nanos")


class StoreCountsView(ReadModel):
    """What one process's store has counted since it started."""

    evicted: Count
    expired: Count
    damaged: Count
    swept: Count
    failures: CountByName


class _Complete(ReadModel):
    object: str
    complete: Literal[True] = True


class CacheStatisticsView(ReadModel):
    """What is stored, and what it saved from the day `from` to the day `to`.

    `max_bytes` is null where the store is not bounded by this gateway, and for a team; `counts`
    is null for a team and on the command line.
    """

    team: str | None
    entries: Count
    bytes: Count
    max_bytes: Count | None
    oldest_at: Moment | None
    from_day: Day = read(name="from")
    to_day: Day = read(name="to")
    answered: Count
    hits: Count
    coalesced: Count
    hit_share: Share
    saved_usd: Money
    saved_usd_by_cause: MoneyByName
    top_by_use: list[ReuseView]
    top_by_saving: list[ReuseView]
    counts: StoreCountsView | None


class CacheView(CacheStatisticsView, _Complete):
    """The statistics of the cache."""

    object: Literal["cache"] = "cache"


class PurgeView(_Complete):
    """A purge: what was selected (`first` shows some of it), and how many results it deleted."""

    object: Literal["purge"] = "purge"
    dry_run: bool
    selection: Json
    entries: Count
    bytes: Count
    first: list[EntryView]
    purged: Count

    def row(self) -> Json:
        return self.model_dump(exclude={"object", "complete"})


class CacheVerificationView(_Complete):
    """A check of every digest; damaged results are deleted."""

    object: Literal["cache_verification"] = "cache_verification"
    checked: Count
    damaged: Count


class _Unfinished(ReadModel):
    object: str
    complete: Literal[False] = False
    done: Count
    total: Count


class UnfinishedCacheView(_Unfinished):
    """The statistics take longer than a request may: repeat it to wait on."""

    object: Literal["cache"] = "cache"


class UnfinishedPurgeView(_Unfinished):
    """The purge takes longer than a request may: repeat it to wait on."""

    object: Literal["purge"] = "purge"
    dry_run: bool
    selection: Json
    purged: Annotated[Count | None, Field(description="0 with `dry_run`, else not known yet.")]


class UnfinishedCacheVerificationView(_Unfinished):
    """The check takes longer than a request may: repeat it to wait on."""

    object: Literal["cache_verification"] = "cache_verification"
    checked: Count
    damaged: None = None
