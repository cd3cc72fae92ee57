"""`gateway ledger reconcile`: the upstream's bill beside the ledger, until both agree."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar, cast

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from gateway.accounts.tables.audit import Author
from gateway.cli.context import (
    author,
    clock_of,
    config_option,
    in_database,
    json_option,
    print_json,
    print_rows,
    reason_option,
    settings_of,
)
from gateway.cli.date_range import csv_option, working
from gateway.cli.ledger_comparison import COLUMNS, print_done, print_plan, rows_of
from gateway.cli.statement_options import columns_of, gathered, span_of
from gateway.database.database import Operation
from gateway.ledger.rules.statement_lines import Billed, Duplicates, Line, StatementTotals
from gateway.ledger.rules.statement_matching import BilledPeriod, Finding
from gateway.ledger.tables import reconcile as reconciling
from gateway.ledger.tables import statement_comparison
from gateway.ledger.tables.statement_comparison import Comparison, Source
from gateway.model.units import seconds_of
from gateway.queries.serializers import comparison_facts
from gateway.runtime.durations import longest_flight_ms
from gateway.settings import Settings

Item = TypeVar("Item")

BATCH = 100


@click.command("reconcile")
@click.option(
    "--statement",
    "file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The upstream's statement: CSV, JSON or JSON lines.",
)
@click.option("--period", default=None, help="The month that it is of, whole: 2026-11.")
@click.option(
    "--column",
    "mapped",
    multiple=True,
    metavar="NAME=COLUMN",
    help="What the statement calls a column, as in [statement]: cost=amount. Repeatable.",
)
@click.option(
    "--edge",
    default=None,
    help="How far a call may be billed from when it was settled (default: twice [upstream] "
    "timeout_seconds).",
)
@click.option(
    "--duplicates",
    type=click.Choice(["refuse", "once", "add"]),
    default="refuse",
    help="What lines count that are there word for word again.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be booked.")
@click.option("--yes", is_flag=True, help="Don't ask before it is booked.")
@reason_option
@config_option
@csv_option
@json_option
def reconcile(
    config: Path | None,
    file: Path,
    period: str | None,
    mapped: Sequence[str],
    edge: str | None,
    duplicates: str,
    dry_run: bool,
    yes: bool,
    reason: str,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Compare the upstream's statement with the ledger, and book what differs.

    Calls are found by the upstream's request id, and those whose answer never came by ours.
    Missing calls are booked to whoever asked for them, or to the team (unattributed); extra ones
    are corrected to nothing; estimates are confirmed. Nothing is edited: corrections are added.
    Afterwards the days of the statement cost what the statement says, to the nano-dollar.
    Without --period, the statement covers what lies between its first and its last line.
    """
    settings = settings_of(config)
    now_ms = clock_of(settings)
    columns = columns_of(settings, mapped)
    edge_ms = longest_flight_ms(settings) if edge is None else _milliseconds(edge)
    digest, statement = gathered(file, columns, settings, cast(Duplicates, duplicates))
    source = Source(settings.upstream.name, digest, settings.zone)
    span, days = span_of(settings, statement, period, now_ms, edge_ms)
    by = author(reason, now_ms)

    plan = _compared(settings, statement, source, span, days)
    quiet = as_json or as_csv
    if not quiet:
        print_plan(file, plan)
    applied = False
    if plan.changes and not dry_run:
        _confirm(plan, file, yes=yes, shown=not quiet)
        _apply(settings, plan, source, by)
        applied = True
    after = _compared(settings, statement, source, span, days) if applied else plan
    if as_json:
        print_json(
            {
                "applied": applied,
                **comparison_facts(plan),
                "rows": rows_of(plan),
                "after": comparison_facts(after),
            }
        )
    elif as_csv:
        print_rows(rows_of(plan), as_csv=True, columns=COLUMNS)
    else:
        print_done(after, applied=applied, dry_run=dry_run)
    if applied and after.off_nanos:
        raise SystemExit(1)


def _milliseconds(text: str) -> int:
    try:
        return int(cast(float, seconds_of(text)) * 1000)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--edge") from None


def _compared(
    settings: Settings,
    statement: StatementTotals,
    source: Source,
    span: BilledPeriod,
    days: tuple[str, str],
) -> Comparison:
    with working("comparing"):
        return in_database(
            settings,
            lambda tx: statement_comparison.compare(tx, statement, source, span, days),
            read=True,
        )


def _confirm(plan: Comparison, file: Path, *, yes: bool, shown: bool) -> None:
    """Ask a person; a script has been asked for it already."""
    if yes or not sys.stdin.isatty():
        return
    if not shown:
        print_plan(file, plan, err=True)
    noun = "1 row" if plan.changes == 1 else f"{plan.changes} rows"
    click.confirm(f"Add {noun} to the ledger?", abort=True, err=True)


def _apply(settings: Settings, plan: Comparison, source: Source, by: Author) -> None:
    """A batch to a transaction: what is broken off is gone on with by the same command."""
    with Progress(
        TextColumn("booking"), BarColumn(), MofNCompleteColumn(), console=Console(stderr=True),
        transient=True,
    ) as progress:  # fmt: skip
        task = progress.add_task("", total=plan.changes)
        for findings in _batches(plan.to_correct):
            in_database(settings, _correction(findings, source, by))
            progress.advance(task, len(findings))
        for billed in _batches(plan.missing):
            in_database(settings, _addition(billed, plan.known_ids, source, by))
            progress.advance(task, len(billed))
        for lines in _batches(list(plan.adjustments.items())):
            in_database(settings, _adjustment(dict(lines), source, by))
            progress.advance(task, len(lines))


def _correction(findings: Sequence[Finding], source: Source, by: Author) -> Operation[int]:
    return lambda tx: reconciling.correct_calls(tx, findings, source, by)


def _addition(
    billed: Sequence[Billed], known_ids: frozenset[str], source: Source, by: Author
) -> Operation[int]:
    return lambda tx: reconciling.add_missing(tx, billed, known_ids, source, by)


def _adjustment(lines: Mapping[str, Line], source: Source, by: Author) -> Operation[int]:
    return lambda tx: reconciling.add_adjustments(tx, lines, source, by)


def _batches(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))
