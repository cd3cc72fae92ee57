"""The upstream's statement: read, compared days, and the comparison as it is printed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path

import click

from gateway.cli.options import month_of
from gateway.cli.output import print_rows, working
from gateway.ledger import statement_file as file_of
from gateway.ledger.rules.statement_lines import (
    BadLine,
    Columns,
    Duplicates,
    RepeatedLines,
    StatementLine,
    StatementTotals,
    parse_line,
    sum_up,
)
from gateway.ledger.rules.statement_matching import BilledPeriod
from gateway.ledger.tables.statement_comparison import Comparison
from gateway.model.money import usd
from gateway.model.windows import day_of, days_before, start_ms
from gateway.queries.models.read_model import time_or_none
from gateway.queries.models.statements import adjustment_row, comparison_row, finding_row
from gateway.settings import Settings

MOST_LINES = 1_000_000
SHOWN_FAULTS = 10
SHOWN_ROWS = 50
COLUMNS = (
    "what", "at", "request_id", "upstream_request_id", "team", "key", "model", "booked_usd",
    "billed_usd", "difference_usd",
)  # fmt: skip
SHOWN_COLUMNS = ("what", "at", "request", "team", "booked_usd", "billed_usd", "difference_usd")


def columns_of(settings: Settings, mapped: Sequence[str]) -> Columns:
    """What the statement calls its columns: by the settings, and NAME=COLUMN over them."""
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


def gathered(
    file: Path, columns: Columns, settings: Settings, duplicates: Duplicates
) -> tuple[str, StatementTotals]:
    """The file's digest and what it says. Raises ClickException for whatever is wrong with it."""
    try:
        return file_of.digest_of(file), _gathered(file, columns, settings, duplicates)
    except file_of.Unreadable as error:
        raise click.ClickException(f"{file} {error}.") from None


def _gathered(
    file: Path, columns: Columns, settings: Settings, duplicates: Duplicates
) -> StatementTotals:
    lines: list[StatementLine] = []
    faults: list[str] = []
    with working(f"reading {file}"):
        for number, found in file_of.read(file, (columns.time, columns.cost)):
            try:
                lines.append(parse_line(number, found, columns, settings.statement.zone))
            except BadLine as error:
                faults.append(str(error))
            if len(lines) + len(faults) > MOST_LINES:
                raise click.ClickException(
                    f"{file} has more than {MOST_LINES:,} lines: reconcile it in parts"
                )
    if faults:
        shown = [f"{file}: {fault}" for fault in faults[:SHOWN_FAULTS]]
        more = len(faults) - len(shown)
        shown += [f"{more} more lines can't be read"] if more else []
        raise click.ClickException("\n".join([*shown, "Nothing was booked."]))
    try:
        return sum_up(lines, duplicates)
    except RepeatedLines as error:
        raise click.ClickException(
            f"{file}: {error}. Say whether they count: --duplicates once, or add."
        ) from None


def span_of(
    settings: Settings, statement: StatementTotals, period: str | None, now_ms: int, edge_ms: int
) -> tuple[BilledPeriod, tuple[str, str]]:
    """What the statement covers, and the days of our books that are compared with it."""
    first_ms, last_ms = statement.first_ms, statement.last_ms
    if period is None:
        if first_ms is None or last_ms is None:
            raise click.ClickException(
                "the statement has no lines: say which month it is of, --period 2026-11"
            )
        days = day_of(first_ms, settings.zone), day_of(last_ms, settings.zone)
        return BilledPeriod(first_ms, last_ms + 1, edge_ms), days
    month, zone = month_of(period), settings.statement.zone
    days = month.first_day, month.last_day
    from_ms, until_ms = start_ms(days[0], zone), start_ms(days_before(days[1], -1), zone)
    if until_ms > now_ms:  # it goes on: what is there is what was billed until the last line
        until_ms = (last_ms or from_ms) + 1
    return BilledPeriod(from_ms, until_ms, edge_ms), days


def rows_of(plan: Comparison) -> list[dict[str, object]]:
    found = [finding_row(each, plan.payers) for each in plan.matching.findings]
    return found + [adjustment_row(line, plan.payers) for line in plan.adjustments.values()]


def print_plan(file: Path, plan: Comparison, *, err: bool = False) -> None:
    statement = plan.statement
    span = ""
    if statement.first_ms is not None:
        span = f", from {time_or_none(statement.first_ms)} to {time_or_none(statement.last_ms)}"
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
    rows = rows_of(plan)
    if rows and not err:
        click.echo("")
        print_rows([_short(row) for row in rows[:SHOWN_ROWS]], columns=SHOWN_COLUMNS)
        if len(rows) > SHOWN_ROWS:
            click.echo(f"… and {len(rows) - SHOWN_ROWS} more: --csv has them all.")
    if rows:
        click.echo("\n" + _counted(rows), err=err)
    if plan.after_its_end:
        click.echo(
            f"{plan.after_its_end} of the extra calls are later than its last line: is it whole?",
            err=err,
        )
    if rows and plan.booked_in:
        click.echo(f"These days are closed: it is booked in {plan.booked_in}.", err=err)


def _short(row: Mapping[str, object]) -> dict[str, object]:
    """A row for a terminal: to the second, and by one id, ours where there is one."""
    at = f"{str(row['at'])[:19]}Z"
    return {**row, "at": at, "request": row["request_id"] or row["upstream_request_id"]}


def _counted(rows: Sequence[Mapping[str, object]]) -> str:
    counts = Counter(str(row["what"]) for row in rows)
    return ", ".join(f"{number} {what}" for what, number in counts.items()) + "."


def print_done(after: Comparison, *, applied: bool, dry_run: bool) -> None:
    if applied:
        click.echo("Booked.")
    elif after.changes and dry_run:
        click.echo("Not booked: this was a dry run.")
    facts = comparison_row(after)
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
