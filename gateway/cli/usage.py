"""`gateway usage`."""

from __future__ import annotations

import click

from gateway.cli import completion
from gateway.cli.options import EVERY, range_of, range_options, report_options, team_option
from gateway.cli.output import print_json, print_rows
from gateway.cli.state_access import read_state
from gateway.ledger.rules.usage_grouping import COLUMNS, KNOWN, TAG
from gateway.queries.csv_table import CsvStyle
from gateway.queries.models.usage import UsageView
from gateway.queries.usage_report import SUM_COLUMNS, UsageAsked, table_of, usage_report
from gateway.settings import Settings

ALWAYS_SHOWN = frozenset({"calls", "hits", "misses", "spent_usd", "saved_usd"})
"""Of the sums, those that stand in every table."""
SHOWN_LINES = 1_000
NO_BORROWING = "No team used results that another had paid for ([cache] scope decides who shares)."


@click.command()
@click.option(
    "--by",
    required=True,
    shell_complete=completion.each_of((*COLUMNS, TAG, "paid_by")),
    metavar="DIMENSION[,DIMENSION…]",
    help=f"One or more of {', '.join(KNOWN)}, separated by commas; or paid_by.",
)
@range_options
@team_option
@click.option(
    "--limit",
    type=click.IntRange(1, EVERY),
    help=f"Maximum number of lines (default: {SHOWN_LINES:,}; as JSON or CSV all).",
)
@report_options
def usage(
    settings: Settings,
    by: str,
    since: str | None,
    to: str | None,
    team: str | None,
    limit: int | None,
    as_csv: CsvStyle | None,
    as_json: bool,
) -> None:
    """Report requests, spending and savings.

    Days are those of booking, in [server] timezone. Money is exact. CSV has no total line. Requests
    without such a tag, owner or cost centre are on the line (untagged), requests that named no
    known model on (unknown). What can't be split by a dimension is on the line (not split). A name
    that looks like such a line is in quotes.
    """
    days = range_of(settings, since, to)
    asked = UsageAsked(by, days.first_day, days.last_day, settings.server.timezone, team)
    try:
        report = read_state(settings, lambda tx: usage_report(tx, asked))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--by") from None
    for note in report.notes:
        click.echo(note, err=True)
    _cut(report, limit or (EVERY if as_json or as_csv else SHOWN_LINES))
    if report.total is None:
        columns, rows = table_of(report)
        print_rows(rows, as_csv=as_csv, as_json=as_json, columns=columns, empty=NO_BORROWING)
    elif as_json:
        print_json(report.model_dump(exclude={"object", "has_more", "next"}))
    elif as_csv:
        columns, rows = table_of(report)
        print_rows(rows, as_csv=as_csv, columns=columns)
    else:
        title = f"{days.first_day} to {days.last_day} ({report.timezone}), by {by}"
        columns, rows = table_of(report, total=True)
        kept = [name for name in columns if name in ALWAYS_SHOWN or name not in SUM_COLUMNS]
        print_rows(rows, columns=columns, kept=kept, title=title)


def _cut(report: UsageView, limit: int) -> None:
    """Leave out the lines after the first `limit`, and say so; the total is of all lines."""
    if len(report.data) > limit:
        every = len(report.data)
        click.echo(f"{limit} of {every} lines are shown: --limit {every} shows all.", err=True)
        del report.data[limit:]
