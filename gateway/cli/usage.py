"""`gateway usage`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from gateway.accounts.tables.keys import list_keys
from gateway.accounts.tables.teams import show_team
from gateway.cli.options import DateRange, range_of, range_options, report_options, team_option
from gateway.cli.output import print_json, print_rows
from gateway.cli.state_access import read_state
from gateway.database.database import Transaction
from gateway.ledger.tables import reports
from gateway.ledger.tables.reports import Borrowing, UsageLine
from gateway.queries.models.read_model import Json
from gateway.queries.models.usage import BorrowingView, UsageLineView
from gateway.settings import Settings

MOST_KEYS = 1_000_000
OUTCOMES = {
    "hits": "hit", "coalesced": "coalesced", "misses": "miss", "refreshed": "refreshed",
    "bypassed": "bypass", "refused": "refused", "failed": "failed",
}  # fmt: skip
PAID_BY = "paid_by"
CAUSES = ("reuse", "coalesced", "automatic_retry", "remembered_refusal")
USAGE_COLUMNS = (
    "group", "calls", *OUTCOMES, "error_share", "paid_calls", "spent_usd", "estimated_usd",
    "estimated_share", "corrections_usd", "saved_usd", *(f"saved_{cause}_usd" for cause in CAUSES),
)  # fmt: skip


@click.command()
@click.option(
    "--by",
    required=True,
    help="team, key, model, day, cost_centre, owner, cost_kind, upstream, tag:NAME or paid_by.",
)
@range_options
@team_option
@report_options
def usage(
    settings: Settings,
    by: str,
    since: str | None,
    to: str | None,
    team: str | None,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Report requests, spending and savings.

    Days are in [server] timezone. Money is exact. CSV has no total line. Requests without such a
    tag, owner or cost centre are on the line (untagged), requests that named no known model on
    (unknown). A name that looks like such a line is in quotes.
    """
    days = range_of(settings, since, to)
    if by == PAID_BY:
        _print_paid_by(settings, days, team, as_csv=as_csv, as_json=as_json)
        return

    async def read(tx: Transaction) -> tuple[Sequence[UsageLine], Mapping[str, str]]:
        if team is not None:
            await show_team(tx, team)
        lines = await reports.usage_by(tx, by, days.first_day, days.last_day, team=team)
        return lines, await _key_names(tx) if by == "key" else {}

    try:
        lines, names = read_state(settings, read)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--by") from None
    total = reports.total_of(lines)
    if as_json:
        zone, data = settings.server.timezone, [_row(line, names) for line in lines]
        head = {"by": by, "from": days.first_day, "to": days.last_day, "timezone": zone}
        print_json({**head, "team": team, "data": data, "total": _row(total, {})})
        return
    rows = [_flat(_row(line, names)) for line in lines]
    columns = (USAGE_COLUMNS[0], *(["name"] if names else []), *USAGE_COLUMNS[1:])
    if as_csv:
        print_rows(rows, as_csv=True, columns=columns)
        return
    click.echo(f"{days.first_day} to {days.last_day} ({settings.server.timezone}), by {by}")
    rows.append(_flat(_row(total, {})))
    print_rows(rows, columns=_filled(columns, rows))


def _print_paid_by(
    settings: Settings, days: DateRange, team: str | None, *, as_csv: bool, as_json: bool
) -> None:
    """Results that teams used and another team had paid for."""

    async def read(tx: Transaction) -> Sequence[Borrowing]:
        return await reports.paid_by_others(tx, days.first_day, days.last_day, team=team)

    rows = [BorrowingView.of(each).row() for each in read_state(settings, read)]
    print_rows(
        rows,
        as_csv=as_csv,
        as_json=as_json,
        columns=("team", "paid_by_team", "uses", "saved_usd"),
        empty="No team used results that another had paid for ([cache] scope decides who shares).",
    )


async def _key_names(tx: Transaction) -> Mapping[str, str]:
    keys = await list_keys(tx, revoked=True, limit=MOST_KEYS)
    return {key.id: f"{key.team}/{key.name}" for key in keys}


def _row(line: UsageLine, names: Mapping[str, str]) -> Json:
    name = {"name": names.get(line.group, "")} if names else {}
    return {**UsageLineView.of(line).row(), **name}


def _flat(row: Json) -> Json:
    """A line with a column for each outcome and each cause."""
    outcomes, saved = row["outcomes"], row["saved_usd_by_cause"]
    return {
        **{name: row[name] for name in ("name", *USAGE_COLUMNS) if name in row},
        **{column: outcomes.get(outcome, 0) for column, outcome in OUTCOMES.items()},
        **{f"saved_{cause}_usd": saved.get(cause, "0") for cause in CAUSES},
    }


def _filled(columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> list[str]:
    """The columns of the table: fixed ones, and those that are not all 0."""
    always = {"group", "name", "calls", "hits", "coalesced", "misses", "spent_usd", "saved_usd"}
    return [
        name
        for name in columns
        if name in always or any(row.get(name) not in (0, "0", 0.0, "") for row in rows)
    ]
