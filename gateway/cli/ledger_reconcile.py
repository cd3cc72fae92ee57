"""`gateway ledger reconcile`."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import click

from gateway.accounts.tables.audit import Author
from gateway.cli import completion
from gateway.cli.options import id_of_kind, milliseconds_of, reason_option, report_options
from gateway.cli.output import print_json, print_rows, progress_bar, working
from gateway.cli.state_access import by_clock, with_database
from gateway.cli.statement import print_done, print_preview, rows_of
from gateway.cli.statement_options import statement_options
from gateway.ledger.rules.statement_limits import Objection, allowed
from gateway.ledger.rules.statement_lines import Duplicates
from gateway.ledger.rules.statement_options import ReadingOptions, WrongOption
from gateway.ledger.statements.previews import Preview
from gateway.queries.csv_table import CsvStyle
from gateway.queries.reconciliation import (
    DIFFERENCE_COLUMNS,
    ReconcileOptions,
    StatementRefused,
    read_inquiry,
    reconciled,
    refusal_text,
)
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
    reading: ReadingOptions,
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
    options = ReconcileOptions(
        upstream=upstream,
        period=period,
        reading=reading,
        edge_ms=None if edge is None else milliseconds_of(edge, "--edge"),
        duplicates=cast(Duplicates, duplicates),
    )
    quiet, upstreams = as_json or as_csv is not None, list(settings.every_upstream)
    with _refused(file):
        with working(f"reading {file}"):
            inquiry = with_database(
                settings, lambda state: read_inquiry(settings, state, file, options)
            )
        with working("comparing"):
            found = with_database(settings, lambda state: reconciled(state, inquiry, by))
        left = allowed(found.shown.refused, allow_percent)
        if preview_id is None:
            asks = not (dry_run or left) and sys.stdin.isatty()
            if asks or not quiet:
                print_preview(file, found.shown, upstreams, err=quiet)
            if asks:
                click.confirm(_question(found.shown), abort=True, err=True)
                preview_id = found.shown.id
        if preview_id is not None and not dry_run:
            book = functools.partial(reconciled, preview_id=preview_id, allow_percent=allow_percent)
            with progress_bar("booking") as report:
                found = with_database(
                    settings, lambda state: book(state, inquiry, by, on_progress=report)
                )
    if as_json:
        print_json(found.view().model_dump(exclude={"object": True, "after": {"object"}}))
    elif as_csv:
        print_rows(rows_of(found.shown), as_csv=as_csv, columns=DIFFERENCE_COLUMNS)
    else:
        print_done(found.after, found.batch)
    if found.batch is None:
        _say_how_to_confirm(found.shown, left, dry_run=dry_run, quiet=quiet)
    if left if found.batch is None else found.after.comparison.off_nanos:
        raise SystemExit(1)


@contextmanager
def _refused(file: Path) -> Iterator[None]:
    """Refusals of the file or of an option, as those of the command."""
    try:
        yield
    except WrongOption as error:
        raise click.BadParameter(str(error), param_hint=f"--{error.option}") from None
    except StatementRefused as error:
        raise click.ClickException(refusal_text(str(file), error)) from None


def _question(shown: Preview) -> str:
    changes = shown.comparison.changes
    if not changes:
        return "Keep that it agrees?"
    return f"Add {'1 row' if changes == 1 else f'{changes} rows'} to the ledger?"


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
