"""A preview of a reconciliation, as it is printed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from gateway.cli.output import print_rows
from gateway.ledger.statements.previews import Preview
from gateway.ledger.tables.batches import Batch
from gateway.ledger.tables.statement_comparison import Comparison
from gateway.ledger.tables.sum_comparison import SumComparison
from gateway.model.money import usd
from gateway.queries.models.read_model import Json, time_or_none
from gateway.queries.models.statements import FirstLineView, PreviewView, difference_rows

SHOWN_ROWS = 50
SHOWN_TEAMS = 20
SHOWN_COLUMNS = (
    "what", "at", "request", "team", "model", "booked_usd", "billed_usd", "difference_usd",
)  # fmt: skip


def rows_of(shown: Preview) -> list[Json]:
    return [each.row() for each in difference_rows(shown)]


def print_preview(
    file: Path, shown: Preview, upstreams: Sequence[str], *, err: bool = False
) -> None:
    """`upstreams` are those that have statements of their own."""
    statement, found = shown.inquiry.statement, shown.comparison
    lines = statement.lines
    first, last = (time_or_none(each(line.at_ms for line in lines)) for each in (min, max))
    left_out = f"; {statement.left_out} lines are left out" if statement.left_out else ""
    click.echo(
        f"{file}: {len(lines)} lines of {shown.inquiry.source.upstream}, "
        f"${usd(statement.total_nanos)}, from {first} to {last}{left_out}.",
        err=err,
    )
    if not err:
        click.echo("The first lines, as they are read:")
        print_rows([FirstLineView.of_line(each).row() for each in statement.first])
    if isinstance(found, SumComparison):
        what = found.options.granularity + (" and model" if found.by_model else "")
        agree = (
            f"{len(found.sums) - len(found.differing)} of {len(found.sums)} sums by {what} agree"
        )
    else:
        agree = f"{len(found.matching.agreed)} calls agree"
        if repeated := found.statement.repeated:
            click.echo(f"{repeated} lines are there again, in every column.", err=err)
    click.echo(
        f"Beside the ledger from {found.first_day} to {found.last_day}, "
        f"${usd(found.booked_nanos)}: {agree}.",
        err=err,
    )
    _print_changes(shown, err=err)
    _print_upstreams(shown, upstreams, err=err)


def _print_changes(shown: Preview, *, err: bool) -> None:
    found, rows = shown.comparison, rows_of(shown)
    if rows and not err:
        click.echo("")
        print_rows([_short(row) for row in rows[:SHOWN_ROWS]], columns=SHOWN_COLUMNS)
        if len(rows) > SHOWN_ROWS:
            click.echo(f"… and {len(rows) - SHOWN_ROWS} more: --csv has them all.")
    if rows:
        click.echo(f"\n{_counted(rows)}", err=err)
    if isinstance(found, Comparison) and found.after_its_end:
        click.echo(
            f"{found.after_its_end} of the extra calls are later than its last line: is it whole?",
            err=err,
        )
    teams = sorted(shown.teams.items(), key=lambda item: -abs(item[1]))
    for team, nanos in teams[:SHOWN_TEAMS]:
        click.echo(f"  team {team}: {'+' if nanos > 0 else '-'}${usd(abs(nanos))}", err=err)
    if len(teams) > SHOWN_TEAMS:
        click.echo(f"  … and {len(teams) - SHOWN_TEAMS} teams more", err=err)
    for each in shown.budgets:
        reopened = ": it is reopened" if each.reopened else ""
        click.echo(
            f"  budget of {each.account}, ${usd(each.budget_nanos)}: spent "
            f"${usd(each.before_nanos)} becomes ${usd(each.after_nanos)}{reopened}",
            err=err,
        )
    if found.changes and found.booked_in:
        click.echo(f"These days are closed: it is booked in {found.booked_in}.", err=err)


def _print_upstreams(shown: Preview, upstreams: Sequence[str], *, err: bool) -> None:
    """Which upstreams of the month are reconciled."""
    if period := shown.coverage.period:
        states = [f"{name} {shown.reconciled.get(name, 'not yet')}" for name in upstreams]
        click.echo(f"Reconciled in {period}: {', '.join(states)}.", err=err)


def _short(row: Mapping[str, object]) -> dict[str, object]:
    """A row for a terminal: to the second, and by one id, ours where there is one."""
    at = str(row["at"])
    at = f"{at[:19]}Z" if len(at) > len("2026-11-25") else at
    return {**row, "at": at, "request": row["request_id"] or row["upstream_request_id"]}


def _counted(rows: Sequence[Mapping[str, object]]) -> str:
    counts = Counter(str(row["what"]) for row in rows)
    return ", ".join(f"{number} {what}" for what, number in counts.items()) + "."


def print_done(after: Preview, batch: Batch | None) -> None:
    """How statement and ledger stand, after booking if there is a batch."""
    found = after.comparison
    if batch:
        click.echo(f"Booked as {batch.id}: `gateway ledger undo {batch.id}` takes it back.")
    facts = PreviewView.of_preview(after).row()
    click.echo(f"\n  statement                       ${facts['statement_usd']}")
    if isinstance(found, Comparison):
        for nanos, name, text in (
            (found.elsewhere_nanos, "of_other_days_usd", "- what is of other days        "),
            (found.pending_nanos, "not_settled_usd", "- calls that are not settled   "),
            (found.undecided_nanos, "near_its_ends_usd", "+ calls near its ends, not on it"),
            (found.gone_nanos, "gone_usd", "+ adjustments not on it        "),
        ):
            if nanos:
                click.echo(f"  {text} ${facts[name]}")
    click.echo(f"  ledger                          ${facts['ledger_usd']}")
    click.echo(f"  difference                      ${facts['difference_usd']}")
    if isinstance(found, Comparison):
        _print_left(found)
    if not found.off_nanos and not found.changes:
        click.echo("\nThe ledger and the statement agree to the nano-dollar.")
    elif batch:
        click.echo("\nSomething was booked meanwhile, or by another statement: look again.")


def _print_left(found: Comparison) -> None:
    if found.pending:
        click.echo(
            f"\n{len(found.pending)} lines are of calls that are not settled: see "
            "`gateway ledger resolve`, then reconcile again."
        )
    if found.matching.undecided:
        click.echo(
            f"\n{len(found.matching.undecided)} calls are not on it and lie within an edge of what "
            "it covers: they may be on another statement, and are left as they are."
        )
    if found.fees.gone:
        click.echo(
            f"\n{len(found.fees.gone)} adjustments of these days are not on it, and are left as "
            "they are: `gateway ledger undo` takes back the batch that booked them."
        )
