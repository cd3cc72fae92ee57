"""`gateway ledger close`: a month ends, and what is in it is written down."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

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
from gateway.ledger.tables import close_month
from gateway.ledger.tables.close_month import Closing
from gateway.queries.serializers import closing_facts
from gateway.settings import Settings

CLOSING_COLUMNS = (
    "period", "timezone", "closed_at", "closed_by", "ledger_rows", "spent_usd", "corrections_usd",
    "saved_usd", "estimated_calls", "digest",
)  # fmt: skip
SHOWN_COLUMNS = tuple(name for name in CLOSING_COLUMNS if name not in ("timezone", "digest"))


@click.command("close")
@click.argument("period", required=False, metavar="MONTH")
@click.option("--list", "listed", is_flag=True, help="Only list the months that are closed.")
@click.option(
    "--force-with-estimates",
    "with_estimates",
    is_flag=True,
    help="Close it although what some calls cost is only estimated.",
)
@reason_option
@config_option
@csv_option
@json_option
def close(
    config: Path | None,
    period: str | None,
    listed: bool,
    with_estimates: bool,
    reason: str,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Close MONTH, such as 2026-11: nothing is booked in it any more.

    What becomes known later is booked in the first open day, and says which row it corrects.
    A month is closed once it is over and nothing is held for its calls any more, after those
    before it, in [server] timezone, and is never opened again. To close it twice changes nothing.
    """
    settings = settings_of(config)
    if listed or period is None:
        if not listed:
            raise click.UsageError("give the month, such as 2026-11, or --list")
        rows = [
            closing_facts(each) for each in in_database(settings, close_month.closings, read=True)
        ]
        print_rows(
            rows,
            as_csv=as_csv,
            as_json=as_json,
            columns=CLOSING_COLUMNS if as_csv else SHOWN_COLUMNS,
            empty="No month is closed.",
        )
        return
    by = author(reason, clock_of(settings))
    closed = _close(settings, period, by, with_estimates)
    if as_json or as_csv:
        facts = closing_facts(closed)
        print_json(facts) if as_json else print_rows([facts], as_csv=True, columns=CLOSING_COLUMNS)
        return
    _print_closed(closed, already=closed.closed_ms != by.now_ms)


def _close(settings: Settings, period: str, by: Author, with_estimates: bool) -> Closing:
    try:
        frozen = in_database(
            settings,
            lambda tx: close_month.freeze(
                tx, period, by, settings.zone, with_estimates=with_estimates
            ),
        )
    except ValueError:
        raise click.BadParameter(f"{period!r} is no month; write 2026-11") from None
    except close_month.NotClosable as error:
        raise click.ClickException(f"{period} is not closed: {error}") from None
    if frozen.contents is not None:
        return frozen
    with working(f"adding up {period}"):
        contents = in_database(settings, lambda tx: close_month.contents_of(tx, frozen), read=True)
    in_database(settings, lambda tx: close_month.seal(tx, period, contents))
    return replace(frozen, contents=contents)


def _print_closed(closed: Closing, *, already: bool) -> None:
    facts = closing_facts(closed)
    said = (
        f"was closed already, at {facts['closed_at']} by {closed.closed_by}"
        if already
        else "is closed"
    )
    click.echo(f"{closed.period} ({closed.timezone}) {said}: nothing more is booked in it.")
    click.echo(
        f"{facts['ledger_rows']} ledger rows: ${facts['spent_usd']} spent, corrections of "
        f"${facts['corrections_usd']} within that; ${facts['saved_usd']} saved."
    )
    if closed.estimated_calls:
        click.echo(
            f"{closed.estimated_calls} calls are still estimated: what they cost is corrected in "
            "the month after."
        )
    click.echo(f"sha256 {facts['digest']}")
