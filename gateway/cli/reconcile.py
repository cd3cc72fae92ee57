"""`gateway ledger reconcile`: the upstream's bill beside the ledger, until both agree."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TypeVar, cast

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

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
from gateway.cli.days import csv_option, working
from gateway.edges import statement as file_of
from gateway.parts import longest_flight_ms
from gateway.rules.money import usd
from gateway.rules.reconciling import Finding, Span
from gateway.rules.statements import (
    BadLine,
    Billed,
    Columns,
    Duplicates,
    Line,
    Repeated,
    Statement,
    gather,
    line_of,
)
from gateway.rules.units import seconds_of
from gateway.rules.windows import day_of, days_before, month_days, start_ms
from gateway.settings import Settings
from gateway.showing import adjustment_facts, comparison_facts, finding_facts, when
from gateway.state import comparing, reconciling
from gateway.state.audit import Author
from gateway.state.comparing import Comparison, Source
from gateway.state.database import Operation

Item = TypeVar("Item")

BATCH = 100
MOST_LINES = 1_000_000
SHOWN_FAULTS = 10
SHOWN_ROWS = 50
COLUMNS = (
    "what", "at", "request_id", "upstream_request_id", "team", "key", "model", "booked_usd",
    "billed_usd", "difference_usd",
)  # fmt: skip
SHOWN_COLUMNS = (
    "what", "at", "request_id", "upstream_request_id", "team", "booked_usd", "billed_usd",
    "difference_usd",
)  # fmt: skip


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
    columns = _columns(settings, mapped)
    edge_ms = longest_flight_ms(settings) if edge is None else _milliseconds(edge)
    try:
        digest = file_of.digest_of(file)
        statement = _gathered(file, columns, settings, cast(Duplicates, duplicates))
    except file_of.Unreadable as error:
        raise click.ClickException(f"{file} {error}.") from None
    source = Source(settings.upstream.name, digest, settings.zone)
    span, days = _span(settings, statement, period, now_ms, edge_ms)
    by = author(reason, now_ms)

    plan = _compared(settings, statement, source, span, days)
    quiet = as_json or as_csv
    if not quiet:
        _print_plan(file, plan)
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
                "rows": _rows(plan),
                "after": comparison_facts(after),
            }
        )
    elif as_csv:
        print_rows(_rows(plan), as_csv=True, columns=COLUMNS)
    else:
        _print_done(after, applied=applied, dry_run=dry_run)
    if applied and after.off_nanos:
        raise SystemExit(1)


# --- reading --------------------------------------------------------------------------------


def _columns(settings: Settings, mapped: Sequence[str]) -> Columns:
    names = [column.name for column in fields(Columns)]
    given: dict[str, str] = {}
    for each in mapped:
        name, _, column = each.partition("=")
        if name not in names or not column:
            raise click.BadParameter(
                f"{each!r} is no NAME=COLUMN with a name of {', '.join(names)}",
                param_hint="--column",
            )
        given[name] = column
    return replace(settings.statement.columns, **given)


def _milliseconds(text: str) -> int:
    try:
        return int(cast(float, seconds_of(text)) * 1000)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--edge") from None


def _gathered(
    file: Path, columns: Columns, settings: Settings, duplicates: Duplicates
) -> Statement:
    lines: list[Line] = []
    faults: list[str] = []
    with working(f"reading {file}"):
        for number, found in file_of.read(file, (columns.time, columns.cost)):
            try:
                lines.append(line_of(number, found, columns, settings.statement.zone))
            except BadLine as error:
                faults.append(str(error))
            if len(lines) > MOST_LINES:
                raise click.ClickException(
                    f"{file} has more than {MOST_LINES:,} lines: reconcile it in parts"
                )
    if faults:
        shown = [f"{file}: {fault}" for fault in faults[:SHOWN_FAULTS]]
        more = len(faults) - len(shown)
        shown += [f"{more} more lines can't be read"] if more else []
        raise click.ClickException("\n".join([*shown, "Nothing was booked."]))
    try:
        return gather(lines, duplicates)
    except Repeated as error:
        raise click.ClickException(
            f"{file}: {error}. Say whether they count: --duplicates once, or add."
        ) from None


def _span(
    settings: Settings, statement: Statement, period: str | None, now_ms: int, edge_ms: int
) -> tuple[Span, tuple[str, str]]:
    """What the statement covers, and the days of our books that are compared with it."""
    first_ms, last_ms = statement.first_ms, statement.last_ms
    if period is None:
        if first_ms is None or last_ms is None:
            raise click.ClickException(
                "the statement has no lines: say which month it is of, --period 2026-11"
            )
        days = day_of(first_ms, settings.zone), day_of(last_ms, settings.zone)
        return Span(first_ms, last_ms + 1, edge_ms), days
    try:
        days = month_days(period)
    except ValueError:
        raise click.BadParameter(f"{period!r} is no month; write 2026-11") from None
    zone = settings.statement.zone
    from_ms, until_ms = start_ms(days[0], zone), start_ms(days_before(days[1], -1), zone)
    if until_ms > now_ms:  # it goes on: what is there is what was billed until the last line
        until_ms = (last_ms or from_ms) + 1
    return Span(from_ms, until_ms, edge_ms), days


def _compared(
    settings: Settings, statement: Statement, source: Source, span: Span, days: tuple[str, str]
) -> Comparison:
    with working("comparing"):
        return in_database(
            settings, lambda tx: comparing.compare(tx, statement, source, span, days), read=True
        )


# --- booking --------------------------------------------------------------------------------


def _confirm(plan: Comparison, file: Path, *, yes: bool, shown: bool) -> None:
    """Ask a person; a script has been asked for it already."""
    if yes or not sys.stdin.isatty():
        return
    if not shown:
        _print_plan(file, plan, err=True)
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


# --- printing -------------------------------------------------------------------------------


def _rows(plan: Comparison) -> list[dict[str, object]]:
    found = [finding_facts(each, plan.payers) for each in plan.matching.findings]
    return found + [adjustment_facts(line, plan.payers) for line in plan.adjustments.values()]


def _print_plan(file: Path, plan: Comparison, *, err: bool = False) -> None:
    statement = plan.statement
    span = ""
    if statement.first_ms is not None:
        span = f", from {when(statement.first_ms)} to {when(statement.last_ms)}"
    click.echo(
        f"{file}: {statement.lines} lines of {len(statement.calls)} calls, "
        f"${usd(statement.total_nanos)}{span}.",
        err=err,
    )
    if statement.repeated:
        click.echo(f"{statement.repeated} lines are there word for word again.", err=err)
    click.echo(
        f"Beside the ledger from {plan.first_day} to {plan.last_day}, "
        f"${usd(plan.booked_nanos)}: {len(plan.matching.agreed)} calls agree.",
        err=err,
    )
    rows = _rows(plan)
    if rows and not err:
        click.echo("")
        print_rows(rows[:SHOWN_ROWS], columns=SHOWN_COLUMNS)
        if len(rows) > SHOWN_ROWS:
            click.echo(f"… and {len(rows) - SHOWN_ROWS} more: --csv has them all.")
    if rows:
        click.echo("\n" + _counted(rows), err=err)
    if rows and plan.booked_in:
        click.echo(f"These days are closed: it is booked in {plan.booked_in}.", err=err)


def _counted(rows: Sequence[Mapping[str, object]]) -> str:
    counts: dict[str, int] = {}
    for row in rows:
        counts[str(row["what"])] = counts.get(str(row["what"]), 0) + 1
    return ", ".join(f"{number} {what}" for what, number in counts.items()) + "."


def _print_done(after: Comparison, *, applied: bool, dry_run: bool) -> None:
    if applied:
        click.echo("Booked.")
    elif after.changes and dry_run:
        click.echo("Not booked: this was a dry run.")
    facts = comparison_facts(after)
    click.echo(f"\n  statement                       ${facts['statement_usd']}")
    if after.elsewhere_nanos:
        click.echo(f"  - what is of other days         ${facts['of_other_days_usd']}")
    if after.pending:
        click.echo(f"  - calls that are not settled    ${facts['not_settled_usd']}")
    if after.undecided_nanos:
        click.echo(f"  + calls near its ends, not on it ${facts['near_its_ends_usd']}")
    click.echo(f"  ledger                          ${facts['ledger_usd']}")
    click.echo(f"  difference                      ${facts['difference_usd']}")
    if after.pending:
        click.echo(
            f"\n{len(after.pending)} lines are of calls that are not settled: see "
            "`gateway ledger resolve`, then reconcile again."
        )
    if after.matching.undecided:
        click.echo(
            f"\n{len(after.matching.undecided)} calls are not on it and lie within an edge of what "
            "it covers: they may be on another statement, and are left as they are."
        )
    if not after.off_nanos and not after.changes:
        click.echo("\nThe ledger and the statement agree to the nano-dollar.")
    elif applied:
        click.echo("\nSomething was booked meanwhile, or by another statement: look again.")
