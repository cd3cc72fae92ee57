"""A statement beside the ledger, as it is printed: what differs, and what lies between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from gateway.cli.output import print_rows
from gateway.ledger.tables.statement_comparison import Comparison
from gateway.model.money import usd
from gateway.queries.models.read_model import time_or_none
from gateway.queries.models.statements import adjustment_row, comparison_row, finding_row

SHOWN_ROWS = 50
COLUMNS = (
    "what", "at", "request_id", "upstream_request_id", "team", "key", "model", "booked_usd",
    "billed_usd", "difference_usd",
)  # fmt: skip
SHOWN_COLUMNS = ("what", "at", "request", "team", "booked_usd", "billed_usd", "difference_usd")


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
    counts: dict[str, int] = {}
    for row in rows:
        counts[str(row["what"])] = counts.get(str(row["what"]), 0) + 1
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
