"""Usage and the ledger: what was asked for, what was paid, and whether the books agree."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from gateway.accounts.tables import keys
from gateway.accounts.tables.teams import show_team
from gateway.api.admin.pagination import listing, page_of
from gateway.api.admin.permissions import check_own
from gateway.api.admin.request_input import AdminRequest, check_names
from gateway.database.database import Transaction
from gateway.ledger.rules.abandonment import Abandonment
from gateway.ledger.tables import close_month, corrections, reports, unresolved_reservations
from gateway.ledger.tables import verify as verifying
from gateway.ledger.tables.ledger_rows import LedgerRow
from gateway.ledger.tables.reports import UsageLine
from gateway.model.errors import Refusal
from gateway.model.money import nanos_of
from gateway.model.windows import day_of
from gateway.queries.serializers import (
    Facts,
    borrowing_facts,
    closing_facts,
    corrected_facts,
    ledger_facts,
    resolved_facts,
    unresolved_facts,
    usage_facts,
    verification_facts,
)
from gateway.runtime.durations import longest_flight_ms

USUAL_GROUPING = "team"
PAID_BY = "paid_by"
MOST_KEYS = 1_000_000
MOST_RESOLVED = 500
"""How many reservations one request settles; it is to be repeated while there are more."""


async def usage(tx: Transaction, asked: AdminRequest) -> Facts:
    first, last = _days(asked)
    by, team = asked.query.get("by", USUAL_GROUPING), await _team(tx, asked)
    if by == PAID_BY:
        found = await reports.paid_by_others(tx, first, last, team=team)
        return {
            "object": "list", "by": by, "from": first, "to": last, "team": team,
            "timezone": asked.settings.server.timezone,
            "data": [borrowing_facts(each) for each in found],
            "has_more": False, "next": None,
        }  # fmt: skip
    try:
        lines = await reports.usage_by(tx, by, first, last, team=team)
    except ValueError as error:
        raise Refusal("invalid_field", f"{error}.", param="by") from None
    name = await _namer(tx, by, team)
    return {
        "object": "list",
        "by": by,
        "from": first,
        "to": last,
        "team": team,
        "timezone": asked.settings.server.timezone,
        "data": [{**usage_facts(line), **name(line)} for line in lines],
        "total": usage_facts(reports.total_of(lines)),
        "has_more": False,
        "next": None,
    }


async def _namer(
    tx: Transaction, by: str, team: str | None
) -> Callable[[UsageLine], dict[str, str]]:
    """What adds to a line by key, which goes by the key's id, the name that people know."""
    if by != "key":
        return lambda _: {}
    found = await keys.list_keys(tx, team=team, revoked=True, limit=MOST_KEYS)
    names = {key.id: f"{key.team}/{key.name}" for key in found}
    return lambda line: {"name": names.get(line.group, "")}


async def ledger(tx: Transaction, asked: AdminRequest) -> Facts:
    first, last = _days(asked)
    page, team = page_of(asked.query), await _team(tx, asked)
    try:
        found = await reports.ledger_rows(
            tx, first, last, team=team, after=page.after, limit=page.fetch
        )
    except ValueError:
        raise Refusal(
            "invalid_field", "after is what the last page gave as next.", param="after"
        ) from None
    return listing(found, page, _row, reports.cursor)


async def verify(tx: Transaction, _: AdminRequest) -> Facts:
    return {"object": "verification", **verification_facts(await verifying.verify(tx))}


async def closings(tx: Transaction, asked: AdminRequest) -> Facts:
    page = page_of(asked.query)
    found = [each for each in await close_month.closings(tx) if each.period > page.after]
    return listing(found[: page.fetch], page, _closing, lambda each: each.period)


def _closing(each: close_month.Closing) -> Facts:
    return {"object": "closed_month", **closing_facts(each)}


async def unresolved(tx: Transaction, asked: AdminRequest) -> Facts:
    page = page_of(asked.query)
    every = sorted(await unresolved_reservations.list_unresolved(tx), key=lambda each: each.held.id)
    found = [each for each in every if each.held.id > page.after][: page.fetch]

    def show(each: unresolved_reservations.UnresolvedReservation) -> Facts:
        abandoned = each.is_abandoned(_abandonment(asked))
        return {"object": "reservation", **unresolved_facts(each, abandoned=abandoned)}

    return listing(found, page, show, lambda each: each.held.id)


def _abandonment(asked: AdminRequest) -> Abandonment:
    return Abandonment(asked.by.now_ms, longest_flight_ms(asked.settings))


async def resolve(tx: Transaction, asked: AdminRequest) -> Facts:
    check_names(asked.document, (), "field")
    resolved = await unresolved_reservations.resolve(
        tx, asked.by, _abandonment(asked), limit=MOST_RESOLVED
    )
    facts = resolved_facts(resolved)
    return {"object": "resolution", **facts, "has_more": len(resolved) == MOST_RESOLVED}


async def correct(tx: Transaction, asked: AdminRequest) -> Facts:
    check_names(asked.document, ("request_id", "cost_usd"), "field")
    cost_nanos = nanos_of(asked.needed("cost_usd"))
    if cost_nanos is None:
        raise Refusal(
            "invalid_field", "cost_usd takes an amount in dollars, such as 0.0123.", "cost_usd"
        )
    try:
        corrected = await corrections.correct(tx, asked.text("request_id"), cost_nanos, asked.by)
    except corrections.UnknownRequest as error:
        raise Refusal("not_found", f"{error}.", param="request_id") from None
    except ValueError as error:
        raise Refusal("invalid_field", f"{error}.", param="cost_usd") from None
    return {"object": "correction", **corrected_facts(corrected)}


async def _team(tx: Transaction, asked: AdminRequest) -> str | None:
    """The team that a report is narrowed to; None where it is about all. Raises NotFound."""
    team = asked.query.get("team", asked.confined_to)
    if team is not None:
        check_own(asked.confined_to, team)
        await show_team(tx, team)
    return team


def _days(asked: AdminRequest) -> tuple[str, str]:
    """The first and the last day of a report; without them, this month until today."""
    today = day_of(asked.by.now_ms, asked.settings.zone)
    first, last = reports.days_of_report(
        today, asked.settings.zone, _day(asked, "from"), _day(asked, "to")
    )
    if first > last:
        raise Refusal("invalid_field", f"from {first} is after to {last}.", param="from")
    return first, last


def _day(asked: AdminRequest, name: str) -> str | None:
    text = asked.query.get(name)
    try:
        if text is None or date.fromisoformat(text).isoformat() == text:
            return text
    except ValueError:
        pass
    raise Refusal("invalid_field", f"{name} takes a day such as 2026-11-01.", param=name)


def _row(row: LedgerRow) -> Facts:
    return {"object": "ledger_row", **ledger_facts(row)}
