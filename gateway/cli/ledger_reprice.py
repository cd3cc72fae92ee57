"""`gateway ledger reprice`."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Sequence

import click

from gateway.accounts.tables.audit import Author
from gateway.cli.options import range_of, reason_option, report_options, yes_option
from gateway.cli.output import confirm, print_json, print_rows, progress_bar, working
from gateway.cli.state_access import by_clock, change_state, prices_of, read_state
from gateway.ledger.tables.batches import Batch, new_batch
from gateway.ledger.tables.reprice import RepricedCall, compare_prices
from gateway.ledger.tables.reprice import reprice as book_prices
from gateway.model.money import usd
from gateway.pricing.rules.price_table import PriceTable
from gateway.queries.csv_table import CsvStyle
from gateway.queries.models.read_model import Json
from gateway.settings import Settings

BATCH = 100
COLUMNS = ("request_id", "day", "team", "key", "model", "before_usd", "after_usd", "change_usd")


@click.command("reprice")
@click.option("--from", "since", required=True, help="First day, such as 2026-11-01.")
@click.option("--to", default=None, help="Last day (default: today).")
@click.option("--price-version", required=True, help="Version of the price table in use.")
@click.option("--dry-run", is_flag=True, help="Only print what would be booked.")
@yes_option
@reason_option
@report_options
def reprice(
    settings: Settings,
    since: str,
    to: str | None,
    price_version: str,
    dry_run: bool,
    yes: bool,
    by: Author,
    as_csv: CsvStyle | None,
    as_json: bool,
) -> None:
    """Book calls that are priced by tokens at the prices of a new table.

    Changes computed costs, and estimates whose tokens were counted; never what was stated. Each
    call has the price of its own day. Rows are never edited: corrections are added, those of a
    closed month in the first open day. Safe to run again.
    """
    table = _table(settings, price_version)
    by, days = by_clock(settings, by), range_of(settings, since, to)
    with working("comparing"):
        calls = read_state(
            settings, lambda tx: compare_prices(tx, table, days.first_day, days.last_day)
        )
    quiet = as_json or as_csv is not None
    if not quiet:
        _print_plan(calls, price_version)
    applied, batch = 0, new_batch("reprice", by, table.version)
    if calls and not dry_run:
        noun = "1 correction" if len(calls) == 1 else f"{len(calls)} corrections"
        plan = functools.partial(_print_plan, calls, price_version, err=True)
        confirm(f"Add {noun} to the ledger?", yes=yes, show_plan=plan if quiet else None)
        applied = _apply(settings, calls, table, batch)
    if quiet:
        rows = [_row(each) for each in calls]
        if as_csv:
            print_rows(rows, as_csv=as_csv, columns=COLUMNS)
        else:
            facts = {"batch": batch.id if applied else None, "corrections": applied}
            print_json({"price_version": price_version, **facts, "rows": rows})
    elif calls:
        undo = f"`gateway ledger undo {batch.id}` takes them back."
        click.echo("Nothing was booked." if dry_run else f"Booked: {applied} corrections. {undo}")


def _table(settings: Settings, version: str) -> PriceTable:
    table = prices_of(settings).table
    if table.version != version:
        raise click.UsageError(
            f"the price table in use ([prices] file) has version {table.version!r}, not {version!r}"
        )
    return table


def _apply(
    settings: Settings, calls: Sequence[RepricedCall], table: PriceTable, batch: Batch
) -> int:
    """Book the corrections, a batch per transaction. Running the command again resumes."""
    booked = 0
    with progress_bar("booking") as report:
        for start in range(0, len(calls), BATCH):
            part = calls[start : start + BATCH]
            booked += change_state(
                settings, functools.partial(book_prices, calls=part, table=table, batch=batch)
            )
            report(start + len(part), len(calls))
    return booked


def _print_plan(calls: Sequence[RepricedCall], version: str, *, err: bool = False) -> None:
    """What would change, by model."""
    if not calls:
        click.echo(f"Every computed cost is that of the prices {version}.", err=err)
        return
    by_model: defaultdict[str, list[RepricedCall]] = defaultdict(list)
    for each in calls:
        by_model[each.call.model].append(each)
    for model, found in sorted(by_model.items()):
        before = sum(each.before_nanos for each in found)
        after = sum(each.after_nanos for each in found)
        click.echo(
            f"{model}: {len(found)} calls booked at ${usd(before)} cost ${usd(after)} by the "
            f"prices {version}, a change of ${usd(after - before)}.",
            err=err,
        )


def _row(each: RepricedCall) -> Json:
    call = each.call
    return {
        "request_id": call.request_id,
        "day": call.day,
        "team": call.team,
        "key": call.key_id,
        "model": call.model,
        "before_usd": usd(each.before_nanos),
        "after_usd": usd(each.after_nanos),
        "change_usd": usd(each.after_nanos - each.before_nanos),
    }
