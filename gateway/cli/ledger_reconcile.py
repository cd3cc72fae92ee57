"""`gateway ledger reconcile`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import click

from gateway.accounts.tables.audit import Author
from gateway.cli import completion
from gateway.cli.options import (
    id_of_kind,
    milliseconds_of,
    month_of,
    reason_option,
    report_options,
    upstream_of,
)
from gateway.cli.output import print_json, print_rows, progress_bar, working
from gateway.cli.state_access import by_clock, read_state, with_database
from gateway.cli.statement import COLUMNS, print_done, print_preview, rows_of
from gateway.cli.statement_options import Change, statement_options
from gateway.ledger.rules.statement_limits import Objection, allowed
from gateway.ledger.rules.statement_lines import Duplicates, RepeatedLines, StatementOptions
from gateway.ledger.rules.statement_period import NotCovered
from gateway.ledger.statements import booking
from gateway.ledger.statements.file import Unreadable
from gateway.ledger.statements.previews import Inquiry, Preview, preview
from gateway.ledger.statements.reading import BadLines, Statement, read_statement
from gateway.ledger.tables.batches import Batch
from gateway.ledger.tables.ledger_calls import has_calls_at
from gateway.ledger.tables.statement_comparison import Source
from gateway.model.suggestions import did_you_mean
from gateway.queries.csv_table import CsvStyle
from gateway.queries.models.statements import preview_row
from gateway.settings import Settings


@click.command("reconcile")
@click.option(
    "--statement",
    "file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Statement of the upstream: CSV, JSON or JSON lines.",
)
@click.option(
    "--upstream",
    shell_complete=completion.UPSTREAMS,
    help="Name of the upstream (default: the only one).",
)
@click.option("--period", default=None, help="Month that the statement covers, such as 2026-11.")
@statement_options
@click.option(
    "--edge",
    default=None,
    help="Longest time between settlement and billing of a call (default: twice the "
    "upstream's timeout_seconds).",
)
@click.option(
    "--duplicates",
    type=click.Choice(["refuse", "once", "add"]),
    default="refuse",
    help="How to count lines that are repeated in every column.",
)
@click.option(
    "--confirm",
    "preview_id",
    metavar="PREVIEW_ID",
    callback=id_of_kind("prv"),
    help="Book this preview.",
)
@click.option(
    "--allow-change",
    "allow_percent",
    type=click.IntRange(0, 100_000),
    metavar="PERCENT",
    help="Book although so much of the sum changes, or so many of the calls were not billed.",
)
@click.option("--dry-run", is_flag=True, help="Only print what would be booked.")
@reason_option
@report_options
def reconcile(
    settings: Settings,
    file: Path,
    upstream: str | None,
    period: str | None,
    reading: Change,
    edge: str | None,
    duplicates: str,
    preview_id: str | None,
    allow_percent: int | None,
    dry_run: bool,
    by: Author,
    as_csv: CsvStyle | None,
    as_json: bool,
) -> None:
    """Compare the statement of one upstream with the ledger, and book the differences.

    Always in two steps: the command previews what would change, and books it if that preview is
    confirmed, at the terminal or by running it again with --confirm PREVIEW_ID. It is refused if
    the outcome is another by then. `gateway ledger undo` takes a batch back.

    Calls match by the upstream's request id, or by the gateway's where no answer arrived. Missing
    calls are booked to their key, or to the team (unattributed); extra calls are corrected to 0;
    estimates are confirmed. Statements of sums (--aggregated) leave calls as they are: differences
    are shared out as adjustments. Without --period, the statement covers the time from its first to
    its last line.
    """
    by = by_clock(settings, by)
    inquiry = _inquiry(settings, file, upstream, period, reading, edge, duplicates)
    quiet, upstreams, batch = as_json or as_csv is not None, list(settings.every_upstream), None
    shown = after = _previewed(settings, file, inquiry, by)
    left = allowed(shown.refused, allow_percent)
    if preview_id is None:
        asks = not (dry_run or left) and sys.stdin.isatty()
        if asks or not quiet:
            print_preview(file, shown, upstreams, err=quiet)
        if asks:
            click.confirm(_question(shown), abort=True, err=True)
            preview_id = shown.id
    if preview_id is not None and not dry_run:
        shown, batch = _confirmed(settings, file, inquiry, preview_id, by, allow_percent)
        after = _previewed(settings, file, inquiry, by)
    if as_json:
        found = {"rows": rows_of(shown), "after": preview_row(after)}
        applied = {"applied": batch is not None, "batch": batch and batch.id}
        print_json({**applied, **preview_row(shown), **found})
    elif as_csv:
        print_rows(rows_of(shown), as_csv=as_csv, columns=COLUMNS)
    else:
        print_done(after, batch)
    if batch is None:
        _say_how_to_confirm(shown, left, dry_run=dry_run, quiet=quiet)
    if left if batch is None else after.comparison.off_nanos:
        raise SystemExit(1)


def _inquiry(
    settings: Settings,
    file: Path,
    upstream: str | None,
    period: str | None,
    reading: Change,
    edge: str | None,
    duplicates: str,
) -> Inquiry:
    if period is not None:
        month_of(period)  # checked before the file is read
    name = _upstream(settings, upstream)
    options = reading(settings.statement_options(name))
    edge_ms = settings.longest_flight_ms if edge is None else milliseconds_of(edge, "--edge")
    statement = _read(file, options)
    return Inquiry(
        statement=statement,
        options=options,
        source=Source(name, statement.digest, settings.zone),
        period=period,
        edge_ms=edge_ms,
        duplicates=cast(Duplicates, duplicates),
    )


def _upstream(settings: Settings, given: str | None) -> str:
    """The upstream's name; one that the settings no longer have must be in the ledger."""
    name, known = upstream_of(settings, given), list(settings.every_upstream)
    if name not in known and not read_state(settings, lambda tx: has_calls_at(tx, name)):
        raise click.UsageError(f"--upstream: no upstream {name!r}. {did_you_mean(name, known)}")
    return name


def _read(file: Path, options: StatementOptions) -> Statement:
    try:
        with working(f"reading {file}"):
            return read_statement(file, options)
    except Unreadable as error:
        raise click.ClickException(f"{file} {error}.") from None
    except BadLines as error:
        raise click.ClickException(f"{file}: {error}\nNothing was booked.") from None


def _previewed(settings: Settings, file: Path, inquiry: Inquiry, by: Author) -> Preview:
    try:
        with working("comparing"):
            return with_database(settings, lambda state: preview(state, inquiry, by.now_ms))
    except NotCovered as error:
        raise click.ClickException(f"{file}: {error}. Nothing was booked.") from None
    except RepeatedLines as error:
        raise click.ClickException(
            f"{file}: {error}. Say whether they count: --duplicates once, or add."
        ) from None


def _question(shown: Preview) -> str:
    changes = shown.comparison.changes
    if not changes:
        return "Keep that it agrees?"
    return f"Add {'1 row' if changes == 1 else f'{changes} rows'} to the ledger?"


def _confirmed(
    settings: Settings,
    file: Path,
    inquiry: Inquiry,
    preview_id: str,
    by: Author,
    allow_percent: int | None,
) -> tuple[Preview, Batch]:
    try:
        with progress_bar("booking") as report:
            return with_database(
                settings,
                lambda state: booking.confirm(
                    state,
                    inquiry,
                    preview_id,
                    by,
                    allow_percent=allow_percent,
                    on_progress=report,
                ),
            )
    except booking.NotConfirmed as error:
        raise click.ClickException(f"{file} is not booked: {error}.") from None


def _say_how_to_confirm(
    shown: Preview, left: Sequence[Objection], *, dry_run: bool, quiet: bool
) -> None:
    for each in left:
        click.echo(f"Error: not booked: {each}", err=True)
    if quiet or any(each.percent is None for each in left):
        return
    what = "Not booked: this was a dry run." if dry_run else "Not booked."
    aim = "To book it" if shown.comparison.changes else "To keep that both agree"
    click.echo(f"\n{what} {aim}, run the same command with --confirm {shown.id}")
