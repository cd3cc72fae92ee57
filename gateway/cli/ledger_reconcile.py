"""`gateway ledger reconcile`."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar, cast

import click

from gateway.accounts.tables.audit import Author
from gateway.cli.options import (
    milliseconds_of,
    month_of,
    reason_option,
    report_options,
    upstream_of,
    yes_option,
)
from gateway.cli.output import confirm, print_json, print_rows, progress_bar, working
from gateway.cli.state_access import by_clock, change_state, read_state
from gateway.cli.statement import (
    COLUMNS,
    columns_of,
    gathered,
    print_done,
    print_plan,
    rows_of,
    span_of,
)
from gateway.database.database import Operation
from gateway.ledger.rules.statement_lines import Duplicates
from gateway.ledger.tables import reconcile as reconciling
from gateway.ledger.tables import statement_comparison
from gateway.ledger.tables.statement_comparison import Comparison, Source
from gateway.queries.csv_table import CsvStyle
from gateway.queries.models.statements import comparison_row
from gateway.settings import Settings

Item = TypeVar("Item")

BATCH = 100


@click.command("reconcile")
@click.option(
    "--statement",
    "file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Statement of the upstream: CSV, JSON or JSON lines.",
)
@click.option("--upstream", help="Name of the upstream (default: the only one).")
@click.option("--period", default=None, help="Month that the statement covers, such as 2026-11.")
@click.option(
    "--column",
    "mapped",
    multiple=True,
    metavar="NAME=COLUMN",
    help="Name of a column in the statement, as in [statement]: cost=amount. Repeatable.",
)
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
    help="How to count lines that are repeated word for word.",
)
@click.option("--dry-run", is_flag=True, help="Only print what would be booked.")
@yes_option
@reason_option
@report_options
def reconcile(
    settings: Settings,
    file: Path,
    upstream: str | None,
    period: str | None,
    mapped: Sequence[str],
    edge: str | None,
    duplicates: str,
    dry_run: bool,
    yes: bool,
    by: Author,
    as_csv: CsvStyle | None,
    as_json: bool,
) -> None:
    """Compare the upstream's statement with the ledger, and book the differences.

    Calls match by the upstream's request id, or by the gateway's where no answer arrived. Missing
    calls are booked to their key, or to the team (unattributed); extra calls are corrected to 0;
    estimates are confirmed. Rows are never edited: corrections are added. Afterwards the ledger
    equals the statement for its days, to the nano-dollar. Without --period, the statement covers
    the time from its first to its last line.
    """
    if period is not None:
        month_of(period)  # checked before the file is read
    by = by_clock(settings, by)
    columns = columns_of(settings, mapped)
    edge_ms = settings.longest_flight_ms if edge is None else milliseconds_of(edge, "--edge")
    digest, statement = gathered(file, columns, settings, cast(Duplicates, duplicates))
    name = upstream_of(settings, upstream)
    others = frozenset(settings.every_upstream) - {name}
    source = Source(name, digest, settings.zone, others)
    span, days = span_of(settings, statement, period, by.now_ms, edge_ms)

    compare = functools.partial(
        statement_comparison.compare, statement=statement, source=source, span=span, days=days
    )
    plan = _compared(settings, compare)
    quiet = as_json or as_csv is not None
    if not quiet:
        print_plan(file, plan)
    applied = False
    if plan.changes and not dry_run:
        _confirm(plan, file, yes=yes, shown=not quiet)
        _apply(settings, plan, source, by)
        applied = True
    after = _compared(settings, compare) if applied else plan
    rows = rows_of(plan)
    if as_json:
        facts = {"applied": applied, **comparison_row(plan), "rows": rows}
        print_json({**facts, "after": comparison_row(after)})
    elif as_csv:
        print_rows(rows, as_csv=as_csv, columns=COLUMNS)
    else:
        print_done(after, applied=applied, dry_run=dry_run)
    if applied and after.off_nanos:
        raise SystemExit(1)


def _compared(settings: Settings, compare: Operation[Comparison]) -> Comparison:
    with working("comparing"):
        return read_state(settings, compare)


def _confirm(plan: Comparison, file: Path, *, yes: bool, shown: bool) -> None:
    noun = "1 row" if plan.changes == 1 else f"{plan.changes} rows"
    show_plan = None if shown else functools.partial(print_plan, file, plan, err=True)
    confirm(f"Add {noun} to the ledger?", yes=yes, show_plan=show_plan)


def _apply(settings: Settings, plan: Comparison, source: Source, by: Author) -> None:
    """Book the changes, a batch per transaction. Running the command again resumes."""
    done = 0
    with progress_bar("booking") as report:
        for count, batch in _batches(plan, source, by):
            change_state(settings, batch)
            done += count
            report(done, plan.changes)


def _batches(plan: Comparison, source: Source, by: Author) -> Iterator[tuple[int, Operation[int]]]:
    """Each transaction, with the number of its rows."""
    correct = functools.partial(reconciling.correct_calls, source=source, by=by)
    add = functools.partial(reconciling.add_missing, known_ids=plan.known_ids, source=source, by=by)
    adjust = functools.partial(reconciling.add_adjustments, source=source, by=by)
    for findings in _parts(plan.to_correct):
        yield len(findings), functools.partial(correct, findings=findings)
    for billed in _parts(plan.missing):
        yield len(billed), functools.partial(add, billed=billed)
    for lines in _parts(list(plan.adjustments.items())):
        yield len(lines), functools.partial(adjust, lines=dict(lines))


def _parts(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))
