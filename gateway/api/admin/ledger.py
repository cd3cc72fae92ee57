"""Usage reports and the ledger."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from gateway.accounts.tables.teams import show_team
from gateway.api.admin.inputs import (
    Body,
    CorrectionBody,
    DaysQuery,
    LedgerQuery,
    PageQuery,
    PriceBody,
    Query,
    RangeQuery,
    UsageQuery,
)
from gateway.api.admin.pagination import page_of
from gateway.api.admin.request_input import AdminRequest
from gateway.api.admin.token_holder import team_of
from gateway.database.database import Transaction
from gateway.ledger.rules.abandonment import Abandonment
from gateway.ledger.tables import (
    close_month,
    corrections,
    price_status,
    reports,
    unresolved_reservations,
)
from gateway.ledger.tables import verify as verification
from gateway.ledger.tables.batches import list_batches
from gateway.model.errors import Refusal
from gateway.model.windows import day_of
from gateway.queries.models.ledger import (
    BatchView,
    ClosedMonthView,
    CorrectionView,
    LedgerRowView,
    PriceStatusView,
    PriceView,
    ReservationView,
    ResolutionView,
    VerificationView,
)
from gateway.queries.models.read_model import ReadModel
from gateway.queries.models.usage import UsageView
from gateway.queries.usage_report import UsageAsked, spent_in, table_of, usage_report
from gateway.settings import SettingsError

Result = TypeVar("Result")

MOST_SUMS = 100_000
"""The most sums that a usage report over HTTP is made of."""
MOST_RESOLVED = 500
"""The most reservations that one request settles; repeat it while `has_more` is true."""


async def usage(tx: Transaction, request: AdminRequest[UsageQuery, Body]) -> ReadModel:
    return await _of_usage(usage_report, tx, request)


async def spent(
    tx: Transaction, request: AdminRequest[UsageQuery, Body]
) -> Mapping[tuple[str, ...], int]:
    """What the groups of such a report spent, for a chart of the console."""
    return await _of_usage(spent_in, tx, request)


async def _of_usage(
    read: Callable[[Transaction, UsageAsked], Awaitable[Result]],
    tx: Transaction,
    request: AdminRequest[UsageQuery, Body],
) -> Result:
    by, team = request.query.by, team_of(request.team, request.query.team)
    timezone = request.settings.server.timezone
    asked = UsageAsked(by, *days_of(request), timezone, team, most_sums=MOST_SUMS)
    try:
        return await read(tx, asked)
    except ValueError as error:
        raise Refusal("invalid_field", f"{error}.", param="by") from None


def usage_csv(report: UsageView, query: UsageQuery) -> str:
    columns, rows = table_of(report)
    return query.style.text(columns, rows)


async def ledger(tx: Transaction, request: AdminRequest[LedgerQuery, Body]) -> ReadModel:
    first_day, last_day = days_of(request)
    query, team = request.query, await team_asked(tx, request)
    try:
        found = await reports.ledger_rows(
            tx,
            *(first_day, last_day),
            team=team,
            after=query.after,
            limit=query.fetch,
            estimated=query.estimated,
        )
    except ValueError:
        raise Refusal(
            "invalid_field", "after takes the `next` of the last page.", param="after"
        ) from None
    return page_of(found, query, LedgerRowView.of, reports.cursor)


async def verify(tx: Transaction, _: AdminRequest[Query, Body]) -> ReadModel:
    return VerificationView.of(await verification.verify(tx))


async def closings(tx: Transaction, request: AdminRequest[PageQuery, Body]) -> ReadModel:
    query = request.query
    found = [each for each in await close_month.closings(tx) if each.period > query.after]
    return page_of(found, query, ClosedMonthView.of, lambda each: each.period)


async def batches(tx: Transaction, request: AdminRequest[PageQuery, Body]) -> ReadModel:
    query = request.query
    found = await list_batches(tx, after=query.after, limit=query.fetch)
    return page_of(found, query, BatchView.of, lambda each: each.id)


async def unresolved(tx: Transaction, request: AdminRequest[PageQuery, Body]) -> ReadModel:
    query = request.query
    every = await unresolved_reservations.list_unresolved(tx)
    found = sorted(
        (each for each in every if each.held.id > query.after), key=lambda each: each.held.id
    )

    def view(each: unresolved_reservations.UnresolvedReservation) -> ReadModel:
        abandoned = each.is_abandoned(_abandonment(request))
        return ReservationView.of_unresolved(each, abandoned=abandoned)

    return page_of(found, query, view, lambda each: each.held.id)


def _abandonment(request: AdminRequest[Query, Body]) -> Abandonment:
    return Abandonment(request.by.now_ms, request.settings.longest_flight_ms)


async def resolve(tx: Transaction, request: AdminRequest[Query, Body]) -> ReadModel:
    settled = await unresolved_reservations.resolve(
        tx, request.by, _abandonment(request), limit=MOST_RESOLVED
    )
    return ResolutionView.of_settled(settled, has_more=len(settled) == MOST_RESOLVED)


async def correct(tx: Transaction, request: AdminRequest[Query, CorrectionBody]) -> ReadModel:
    body = request.body
    try:
        corrected = await corrections.correct(tx, body.request_id, body.cost_usd, request.by)
    except corrections.UnknownRequest as error:
        raise Refusal("not_found", f"{error}.", param="request_id") from None
    except ValueError as error:
        raise Refusal("invalid_field", f"{error}.", param="cost_usd") from None
    return CorrectionView.of(corrected)


async def list_prices(tx: Transaction, request: AdminRequest[PageQuery, Body]) -> ReadModel:
    query = request.query
    found = [each for each in await price_status.list_prices(tx) if each.name > query.after]
    return page_of(found, query, PriceStatusView.of, lambda each: each.name)


async def confirm_price(tx: Transaction, request: AdminRequest[Query, PriceBody]) -> ReadModel:
    body = request.body
    try:
        upstream = request.settings.upstream_name(body.upstream)
    except SettingsError as error:
        raise Refusal("invalid_field", f"{error}.", param="upstream") from None
    today = day_of(request.by.now_ms, request.settings.zone)
    try:
        nanos = await price_status.confirm(
            tx, upstream, body.model, body.price_usd, today=today, by=request.by
        )
    except (price_status.NoPrice, ValueError) as error:
        raise Refusal("invalid_field", f"{error}.", param="price_usd") from None
    return PriceView.of_confirmed(upstream, body.model, nanos)


async def team_asked(tx: Transaction, request: AdminRequest[DaysQuery, Body]) -> str | None:
    """The team of a report; None for all teams. Raises NotFound."""
    team = team_of(request.team, request.query.team)
    if team is not None:
        await show_team(tx, team)
    return team


def days_of(request: AdminRequest[RangeQuery, Body]) -> tuple[str, str]:
    """The first and the last day of a report; by default this month until today."""
    zone, query = request.settings.zone, request.query
    today = day_of(request.by.now_ms, zone)
    first_day, last_day = reports.days_of_report(today, zone, query.from_day, query.to_day)
    if first_day > last_day:
        raise Refusal("invalid_field", f"from {first_day} is after to {last_day}.", param="from")
    return first_day, last_day
