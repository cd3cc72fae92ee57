"""`gateway ledger close`."""

from __future__ import annotations

import functools

import click

from gateway.accounts.tables.audit import Author
from gateway.cli.options import month_of, reason_option, report_options
from gateway.cli.output import print_json, print_rows, working
from gateway.cli.state_access import by_clock, read_state, with_database
from gateway.ledger import books
from gateway.ledger.tables.batches import reconciled
from gateway.ledger.tables.close_month import Closing, NotClosable, closings
from gateway.queries.csv_table import CsvStyle
from gateway.queries.models.ledger import ClosedMonthView
from gateway.queries.models.read_model import Json
from gateway.settings import Settings

CLOSING_COLUMNS = (
    "period", "timezone", "closed_at", "closed_by", "ledger_rows", "spent_usd", "corrections_usd",
    "saved_usd", "estimated_calls", "digest",
)  # fmt: skip
SHOWN_COLUMNS = tuple(name for name in CLOSING_COLUMNS if name not in ("timezone", "digest"))


@click.command("close")
@click.argument("period", required=False, metavar="MONTH")
@click.option("--list", "listed", is_flag=True, help="List closed months.")
@click.option(
    "--force-with-estimates",
    "with_estimates",
    is_flag=True,
    help="Close the month although the cost of some calls is estimated.",
)
@reason_option
@report_options
def close(
    settings: Settings,
    period: str | None,
    listed: bool,
    with_estimates: bool,
    by: Author,
    as_csv: CsvStyle | None,
    as_json: bool,
) -> None:
    """Close MONTH, such as 2026-11: nothing more is booked in it.

    Later corrections are booked in the first open day and name the row that they correct. A month
    can be closed once it has ended in [server] timezone, its reservations are resolved, and earlier
    months are closed. It is never opened again. Closing it twice changes nothing.
    """
    if listed or period is None:
        if not listed:
            raise click.UsageError("give a month, such as 2026-11, or --list")
        closed_months = read_state(settings, closings)
        rows = [ClosedMonthView.of(each).row() for each in closed_months]
        columns = CLOSING_COLUMNS if as_csv else SHOWN_COLUMNS
        empty = "No month is closed."
        print_rows(rows, as_csv=as_csv, as_json=as_json, columns=columns, empty=empty)
        return
    by = by_clock(settings, by)
    closed = _close(settings, period, by, with_estimates)
    facts = ClosedMonthView.of(closed).row()
    if as_json:
        print_json(facts)
    elif as_csv:
        print_rows([facts], as_csv=as_csv, columns=CLOSING_COLUMNS)
    else:
        _print_closed(closed, facts, already=closed.closed_ms != by.now_ms)
        known = read_state(settings, lambda tx: reconciled(tx, period))
        states = [f"{name} {known.get(name, 'not yet')}" for name in settings.every_upstream]
        click.echo(f"Reconciled: {', '.join(states)}.")


def _close(settings: Settings, period: str, by: Author, with_estimates: bool) -> Closing:
    month_of(period)  # checked here, so that a wrong one is a usage error
    closing = functools.partial(books.close, with_estimates=with_estimates)
    try:
        with working(f"adding up {period}"):
            return with_database(settings, lambda state: closing(state, period, by, settings.zone))
    except NotClosable as error:
        raise click.ClickException(f"{period} is not closed: {error}") from None


def _print_closed(closed: Closing, facts: Json, *, already: bool) -> None:
    before = f"was already closed, at {facts['closed_at']} by {closed.closed_by}"
    status = before if already else "is closed"
    click.echo(f"{closed.period} ({closed.timezone}) {status}: nothing more is booked in it.")
    click.echo(
        f"{facts['ledger_rows']} ledger rows: ${facts['spent_usd']} spent, corrections of "
        f"${facts['corrections_usd']} within that; ${facts['saved_usd']} saved."
    )
    if closed.estimated_calls:
        click.echo(
            f"{closed.estimated_calls} calls are still estimated; corrections are booked in the "
            "month after."
        )
    click.echo(f"sha256 {facts['digest']}")
