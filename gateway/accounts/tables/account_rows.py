"""A row of the accounts table and the record that it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gateway.accounts.rules.terms import Terms, facts_of
from gateway.database.database import Row, Value
from gateway.model.caller import NO_TAGS, Account, Level, Limits

COLUMNS = (
    "id, level, parent, name, change, created_ms, ended_ms, paused, expires_ms, unlimited, "
    "owner, cost_centre, tags, budget_nanos, budget_period, paid_images_per_day, "
    "requests_per_minute, max_in_flight, max_reference_images, models, may_bypass_cache, "
    "webhook_url, warn_percents"
)


@dataclass(frozen=True, slots=True)
class AccountRecord:
    """The organisation, a team or a key as the state keeps it.

    `id` is "organisation", "team:NAME" or "key:ID", `parent` the id of the account above.
    `ended_ms` is when the team was archived or the key revoked, `change` its last change.
    """

    id: str
    level: Level
    parent: str | None
    name: str
    terms: Terms
    paused: bool = False
    change: int = 0
    created_ms: int = 0
    ended_ms: int | None = None

    @property
    def account(self) -> Account:
        """What of it bounds spending."""
        return Account(self.id, self.level, self.name, self.terms.limits, self.paused)

    def facts(self) -> dict[str, object]:
        """Its terms and whether it is paused, by their public names, as JSON can hold them."""
        facts = facts_of(self.terms, self.level)
        return facts if self.level == "key" else {**facts, "paused": self.paused}


def record_of(row: Row) -> AccountRecord:
    """The record of a row of `COLUMNS`."""
    return AccountRecord(
        id=row["id"],
        level=row["level"],
        parent=row["parent"],
        name=row["name"],
        terms=_terms_of(row),
        paused=bool(row["paused"]),
        change=row["change"],
        created_ms=row["created_ms"],
        ended_ms=row["ended_ms"],
    )


def values_of(record: AccountRecord) -> tuple[Value, ...]:
    """The columns from `paused` on, in the order of `COLUMNS`."""
    terms, limits = record.terms, record.terms.limits
    models, bypass, percents = limits.models, limits.may_bypass_cache, terms.warn_percents
    return (
        *(int(record.paused), terms.expires_ms, int(terms.unlimited)),
        *(terms.owner, terms.cost_centre, json.dumps(dict(terms.tags), sort_keys=True)),
        *(limits.budget_nanos, limits.budget_period, limits.paid_images_per_day),
        *(limits.requests_per_minute, limits.max_in_flight, limits.max_reference_images),
        None if models is None else json.dumps(sorted(models)),
        None if bypass is None else int(bypass),
        terms.webhook_url,
        None if percents is None else json.dumps(percents),
    )


def _terms_of(row: Row) -> Terms:
    percents = row["warn_percents"]
    return Terms(
        limits=_limits_of(row),
        unlimited=bool(row["unlimited"]),
        owner=row["owner"],
        cost_centre=row["cost_centre"],
        tags=_tags_of(row["tags"]),
        expires_ms=row["expires_ms"],
        webhook_url=row["webhook_url"],
        warn_percents=None if percents is None else tuple(json.loads(percents)),
    )


def _limits_of(row: Row) -> Limits:
    models, bypass = row["models"], row["may_bypass_cache"]
    return Limits(
        budget_nanos=row["budget_nanos"],
        budget_period=row["budget_period"],
        paid_images_per_day=row["paid_images_per_day"],
        requests_per_minute=row["requests_per_minute"],
        max_in_flight=row["max_in_flight"],
        max_reference_images=row["max_reference_images"],
        models=None if models is None else frozenset(json.loads(models)),
        may_bypass_cache=None if bypass is None else bool(bypass),
    )


def _tags_of(text: str) -> Mapping[str, str]:
    return NO_TAGS if text == "{}" else MappingProxyType(json.loads(text))
