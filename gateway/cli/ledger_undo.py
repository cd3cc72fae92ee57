"""`gateway ledger undo`."""

from __future__ import annotations

import click

from gateway.accounts.tables.audit import Author
from gateway.cli.options import id_of_kind, reason_option, report_options, yes_option
from gateway.cli.output import confirm, print_json, print_rows, progress_bar
from gateway.cli.state_access import by_clock, read_state, with_database
from gateway.ledger import books
from gateway.ledger.tables.batches import list_batches
from gateway.ledger.tables.undo import NotUndoable, plan_undo
from gateway.model.money import usd
from gateway.queries.csv_table import CsvStyle
from gateway.queries.models.ledger import BatchView, UndoView
from gateway.settings import Settings

COLUMNS = (
    "id", "kind", "at", "by", "upstream", "period", "ledger_rows", "cost_usd", "undone_by",
    "reason", "facts",
)  # fmt: skip


@click.command("undo")
@click.argument("batch", required=False, metavar="BATCH", callback=id_of_kind("bat"))
@click.option("--list", "listed", is_flag=True, help="List batches, the latest first.")
@click.option("--dry-run", is_flag=True, help="Only print what would be booked.")
@yes_option
@reason_option
@report_options
def undo(
    settings: Settings,
    batch: str | None,
    listed: bool,
    dry_run: bool,
    yes: bool,
    by: Author,
    as_csv: CsvStyle | None,
    as_json: bool,
) -> None:
    """Take back what BATCH booked: a reconciliation, a repricing or a correction by hand.

    Rows are never deleted: a counter-row is added for each, in the day of that row, or in the first
    open day if its month is closed. It counts in the budgets in which that row counts, so that
    every balance is as it was. Safe to run again.
    """
    if listed or batch is None:
        if not listed:
            raise click.UsageError("give a batch, or --list")
        rows = [BatchView.of(each).row() for each in read_state(settings, list_batches)]
        columns = COLUMNS if as_csv else COLUMNS[:-1]
        empty = "There is no batch."
        print_rows(rows, as_csv=as_csv, as_json=as_json, columns=columns, empty=empty)
        return
    by = by_clock(settings, by)
    try:
        plan = read_state(settings, lambda tx: plan_undo(tx, batch, by))
        if not as_json:
            click.echo(
                f"{batch}: {plan.rows} rows of ${usd(plan.cost_nanos)} are to be taken back."
            )
        if not dry_run:
            confirm(f"Add {plan.rows} counter-rows to the ledger?", yes=yes)
            with progress_bar("booking") as report:
                with_database(settings, lambda state: books.take_back(state, plan, report))
    except NotUndoable as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        print_json(UndoView.of_plan(plan, applied=not dry_run).row())
    else:
        click.echo("Nothing was booked." if dry_run else f"Taken back by {plan.batch.id}.")
