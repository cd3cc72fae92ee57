"""`gateway ledger`: verify, correct, list."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any

import click

from gateway.accounts.tables.audit import Author
from gateway.cli import LazyCommands
from gateway.cli.options import (
    EVERY,
    DateRange,
    ListedPart,
    change_options,
    open_range_of,
    range_of,
    range_options,
    read_options,
    report_options,
    say_more,
    team_option,
)
from gateway.cli.output import print_json, print_rows, working
from gateway.cli.state_access import by_clock, change_state, read_state
from gateway.ledger.tables import corrections, reports, verify
from gateway.ledger.tables.corrections import Corrected
from gateway.model.money import nanos_of, usd
from gateway.queries.csv_table import CsvStyle
from gateway.queries.models.ledger import (
    LEDGER_COLUMNS,
    CorrectionView,
    LedgerRowView,
    VerificationView,
)
from gateway.settings import Settings

PAGE_ROWS = 10_000
SHOWN_COLUMNS = (
    "at", "team", "key", "model", "cost_usd", "kind", "status", "images", "cost_kind", "upstream",
    "request_id", "cost_centre", "tags",
)  # fmt: skip
SHOWN_ROWS = 1_000


_MODULES = ("resolve", "reconcile", "reprice", "undo", "close", "export")


@click.group(
    cls=LazyCommands,
    modules={name: f"ledger_{name}" for name in _MODULES},
)
def ledger() -> None:
    """The ledger: every upstream call and its cost."""


@ledger.command("verify")
@read_options
def verify_ledger(settings: Settings, as_json: bool) -> None:
    """Verify that balances and reports are the sums of their rows.

    Balances are compared with the ledger and the open reservations; spending in reports with the
    ledger, by day, team, key, model, owner, cost centre and tags; requests and savings in reports
    with the single requests, while those are kept; closed months with their contents when closed.
    Everything is read at one moment. The upstream's bill is not read: see `reconcile`. Exits with
    status 1 if anything differs.
    """
    with working("adding up the ledger"):
        found = read_state(settings, verify.verify)
    facts = VerificationView.of(found).row()
    if as_json:
        print_json(facts)
    else:
        _print_verification(facts)
    if found.differences:
        raise SystemExit(1)


def _print_verification(facts: dict[str, Any]) -> None:
    click.echo(
        f"{facts['ledger_rows']} ledger rows: ${facts['spent_usd']} spent, of which "
        f"${facts['estimated_usd']} is estimated ({facts['estimated_calls']} calls); "
        f"${facts['held_usd']} held by {facts['open_reservations']} open reservations."
    )
    differences = facts["differences"]
    if differences:
        click.echo("Booked amounts do NOT equal the sums of their rows:")
        print_rows(differences)
        return
    click.echo(
        "Every balance is what the ledger and the open reservations add up to, and spending in "
        "reports is what the ledger adds up to."
    )
    if through := facts["closed_through"]:
        click.echo(f"Closed months, until {through}, are unchanged since they were closed.")
    if first := facts["requests_from"]:
        click.echo(f"Requests and savings in reports are verified from {first} on.")
    else:
        click.echo("Requests in reports are not verified: no single requests are kept.")


@ledger.command("correct")
@click.argument("request_id")
@click.option("--cost-usd", required=True, help="Total cost of its calls, by the bill.")
@change_options
def correct_ledger(
    settings: Settings, as_json: bool, request_id: str, cost_usd: str, by: Author
) -> None:
    """Correct the cost of a request by a row for the difference, with an audit entry."""
    nanos = nanos_of(cost_usd)
    if nanos is None:
        raise click.BadParameter("give an amount in dollars, such as 0.04", param_hint="--cost-usd")
    at = by_clock(settings, by)
    try:
        corrected = change_state(
            settings, lambda tx: corrections.correct(tx, request_id, nanos, at)
        )
    except corrections.UnknownRequest as error:
        raise click.ClickException(str(error)) from None
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        print_json(CorrectionView.of(corrected).row())
        return
    click.echo(_correction_text(corrected))
    if corrected.batch:
        click.echo(f"`gateway ledger undo {corrected.batch}` takes it back.", err=True)
    if corrected.booked_in:
        click.echo(f"Its month is closed: the correction is booked in {corrected.booked_in}.")
    if corrected.held_nanos:
        click.echo(
            f"${usd(corrected.held_nanos)} more is held for it until its reservation is resolved."
        )


def _correction_text(corrected: Corrected) -> str:
    name, cost_usd = corrected.request_id, usd(corrected.after_nanos)
    if corrected.confirmed:
        return f"{name} is confirmed at ${cost_usd}: no longer an estimate."
    if corrected.corrections:
        return f"{name} cost ${usd(corrected.before_nanos)} and now costs ${cost_usd}."
    return f"The ledger already says that {name} cost ${cost_usd}."


@ledger.command("list")
@range_options
@team_option
@click.option("--estimated", is_flag=True, help="Only calls whose cost is an estimate.")
@click.option(
    "--limit",
    type=click.IntRange(1, EVERY),
    help=f"Maximum number of rows (default: {SHOWN_ROWS}; all as JSON or CSV).",
)
@click.option("--after", default="", help="List the rows after this one.")
@click.option("--all", "everything", is_flag=True, help="List all rows.")
@report_options
def list_ledger(
    settings: Settings,
    since: str | None,
    to: str | None,
    team: str | None,
    estimated: bool,
    limit: int | None,
    after: str,
    everything: bool,
    as_csv: CsvStyle | None,
    as_json: bool,
) -> None:
    """List the ledger's rows by booking day, then by time.

    A correction is booked in the day of its call, or in the first open day if that is closed.
    --estimated lists all open estimates, of any day unless days are given.
    """
    days = open_range_of(since, to) if estimated else range_of(settings, since, to)
    if limit is None and not as_json and not as_csv:
        limit = SHOWN_ROWS
    part = ListedPart(None if everything else limit, after)
    pages = _pages(settings, days, team, estimated, part)
    if as_json:
        _print_json_pages(pages)
    elif as_csv:
        click.echo(as_csv.text(LEDGER_COLUMNS, ()), nl=False)
        for page in pages:
            click.echo(as_csv.text(LEDGER_COLUMNS, page, head=False), nl=False)
    else:
        with working("reading the ledger"):
            rows = [row for page in pages for row in page]
        empty = "No cost is an estimate." if estimated else "No call was booked in these days."
        kept = ("at", "team", "model", "cost_usd")
        print_rows(rows, columns=SHOWN_COLUMNS, kept=kept, empty=part.empty(empty))


def _pages(
    settings: Settings, days: DateRange, team: str | None, estimated: bool, part: ListedPart
) -> Iterator[list[dict[str, object]]]:
    """This part of the ledger, a page at a time; says on stderr where more follows."""
    page = functools.partial(
        reports.ledger_rows,
        from_day=days.first_day,
        to_day=days.last_day,
        team=team,
        estimated=estimated,
    )
    after, left = part.after, part.limit or EVERY
    while True:
        size = min(PAGE_ROWS, left)
        try:
            rows = read_state(settings, functools.partial(page, after=after, limit=size + 1))
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--after") from None
        yield [LedgerRowView.of(row).row() for row in rows[:size]]
        if len(rows) <= size:
            return
        after, left = reports.cursor(rows[size - 1]), left - size
        if not left:
            say_more(after)
            return


def _print_json_pages(pages: Iterator[list[dict[str, object]]]) -> None:
    separator = "[\n"
    for page in pages:
        for row in page:
            click.echo(separator + json.dumps(row, ensure_ascii=False), nl=False)
            separator = ",\n"
    click.echo("[]" if separator == "[\n" else "\n]")
