"""The ledger: its proof, what crashes left in it, its corrections and its rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from gateway.accounts.tables.audit import Author
from gateway.cli.context import (
    author,
    clock_of,
    config_option,
    csv_text,
    in_database,
    json_option,
    print_json,
    print_rows,
    reason_option,
    settings_of,
)
from gateway.cli.date_range import (
    DateRange,
    csv_option,
    open_range_of,
    range_of,
    range_options,
    working,
)
from gateway.database.database import Transaction
from gateway.ledger.tables import abandoned as resolving
from gateway.ledger.tables import correct, reports, verify
from gateway.ledger.tables.abandoned import Unresolved
from gateway.ledger.tables.booking import LedgerRow, OpenReservation
from gateway.ledger.tables.correct import Corrected
from gateway.model.money import nanos_of, usd
from gateway.queries.serializers import (
    corrected_facts,
    held_facts,
    ledger_facts,
    resolved_facts,
    unresolved_facts,
    verification_facts,
)
from gateway.runtime.durations import HEARTBEAT_EXPIRY_MS, longest_flight_ms
from gateway.settings import Settings

PAGE_ROWS = 10_000
BATCH = 100
LEDGER_COLUMNS = (
    "id", "kind", "corrects", "at", "day", "request_id", "upstream_request_id", "credential",
    "team", "key", "model", "route", "fingerprint", "reference_images", "body_bytes",
    "answer_bytes", "status", "n", "images", "cost_usd", "estimated", "owner", "cost_centre",
    "tags", "late_for",
)  # fmt: skip
SHOWN_COLUMNS = (
    "at", "kind", "request_id", "team", "key", "model", "status", "images", "cost_usd",
    "estimated", "cost_centre", "tags",
)  # fmt: skip
HELD_COLUMNS = ("id", "made_at", "request_id", "team", "key", "model", "held_usd", "images", "why")


@click.group()
def ledger() -> None:
    """The ledger: every upstream call and what it cost."""


@ledger.command("verify")
@config_option
@json_option
def verify_ledger(config: Path | None, as_json: bool) -> None:
    """Prove that the books are the sums of the rows below them.

    Every balance against the ledger and the open reservations; what reports say of money
    against the ledger, by day, team, key, model, owner, cost centre and tags; what they say of
    requests and savings against the single requests, as long as those are kept. All of it as
    of one moment. A closed month must be as it was when it was closed. The upstream's own bill
    is not looked at: `reconcile` does that. Ends with status 1 where anything differs.
    """
    with working("adding up the ledger"):
        found = in_database(settings_of(config), verify.verify, read=True)
    facts = verification_facts(found)
    if as_json:
        print_json(facts)
    else:
        _print_verification(facts)
    if found.differences:
        raise SystemExit(1)


def _print_verification(facts: dict[str, Any]) -> None:
    click.echo(
        f"{facts['ledger_rows']} ledger rows: ${facts['spent_usd']} spent, of which "
        f"${facts['estimated_usd']} is estimated ({facts['estimated_calls']} calls); "
        f"${facts['held_usd']} held by {facts['open_reservations']} open reservations."
    )
    differences = facts["differences"]
    if differences:
        click.echo("What is booked is NOT what the rows below it add up to:")
        print_rows(differences)
        return
    click.echo(
        "Every balance is what the ledger and the open reservations add up to, and what reports "
        "say of money is what the ledger adds up to."
    )
    if through := facts["closed_through"]:
        click.echo(f"What is closed, until {through}, is as it was when it was closed.")
    if first := facts["requests_from"]:
        click.echo(f"What they say of requests and savings is proven from {first} on.")
    else:
        click.echo("No single requests are kept that could prove what they say of requests.")


@ledger.command("resolve")
@click.option("--dry-run", is_flag=True, help="Only say what would be settled.")
@reason_option
@config_option
@json_option
def resolve_ledger(config: Path | None, as_json: bool, dry_run: bool, reason: str) -> None:
    """Settle what dead processes have left held: at the ceiling, as an estimate.

    Only where the process has not been heard of for a while and the reservation is older
    than the longest possible call (2 × [upstream] timeout_seconds, queue_seconds and 20 s).
    Nothing is ever voided: the call may have been charged. A gateway that runs does the same
    by itself.
    """
    settings = settings_of(config)
    rule = Abandonment(clock_of(settings), longest_flight_ms(settings))
    found = in_database(settings, resolving.list_unresolved, read=True)
    if dry_run:
        settled = [each.held for each in found if rule.holds_for(each)]
    else:
        with working("settling"):
            settled = _settle(settings, rule, author(reason, rule.now_ms))
    done = {held.id for held in settled}
    left = [each for each in found if each.held.id not in done]
    if as_json:
        facts = [
            {**unresolved_facts(each, abandoned=False), "why": rule.why_not(each)} for each in left
        ]
        print_json({"dry_run": dry_run, **resolved_facts(settled), "left": facts})
        return
    _print_resolved(settled, dry_run)
    if left:
        click.echo(f"\n{len(left)} left as they are:")
        shown = [{**held_facts(each.held), "why": rule.why_not(each)} for each in left]
        print_rows(shown, columns=HELD_COLUMNS)


@dataclass(frozen=True, slots=True)
class Abandonment:
    """When a reservation counts as abandoned: the state's own rule, in words too."""

    now_ms: int
    longest_flight_ms: int

    def holds_for(self, unresolved: Unresolved) -> bool:
        return unresolved.abandoned(
            now_ms=self.now_ms,
            longest_flight_ms=self.longest_flight_ms,
            heartbeat_expiry_ms=HEARTBEAT_EXPIRY_MS,
        )

    def why_not(self, unresolved: Unresolved) -> str:
        """Why a reservation is not settled."""
        heard_ms = unresolved.heartbeat_ms
        if heard_ms is not None and heard_ms >= self.now_ms - HEARTBEAT_EXPIRY_MS:
            ago = max(0, self.now_ms - heard_ms) // 1000
            return f"its process may still live, heard of {ago} s ago"
        age, longest = self.now_ms - unresolved.held.made_ms, self.longest_flight_ms
        return (
            f"its process is gone, but the call may still run: {age // 1000} s old, settled "
            f"when older than {longest // 1000} s"
        )


def _settle(settings: Settings, rule: Abandonment, by: Author) -> list[OpenReservation]:
    """Settle everything that is abandoned, a batch to a transaction."""
    settled: list[OpenReservation] = []

    async def some(tx: Transaction) -> Sequence[OpenReservation]:
        return await resolving.settle_abandoned(
            tx,
            by,
            longest_flight_ms=rule.longest_flight_ms,
            heartbeat_expiry_ms=HEARTBEAT_EXPIRY_MS,
            limit=BATCH,
        )

    while True:
        batch = in_database(settings, some)
        settled += batch
        if len(batch) < BATCH:
            return settled


def _print_resolved(settled: Sequence[OpenReservation], dry_run: bool) -> None:
    if not settled:
        click.echo("Nothing is abandoned.")
        return
    total = resolved_facts(settled)["booked_usd"]
    verb = "would be settled" if dry_run else "settled"
    click.echo(f"{len(settled)} abandoned reservations {verb} at ${total}, estimated:")
    print_rows([held_facts(held) for held in settled], columns=HELD_COLUMNS[:-1])


@ledger.command("correct")
@click.argument("request_id")
@click.option("--cost-usd", required=True, help="What its calls cost in all, by the bill.")
@reason_option
@config_option
@json_option
def correct_ledger(
    config: Path | None, as_json: bool, request_id: str, cost_usd: str, reason: str
) -> None:
    """Correct what a request cost: a row for the difference, and a line of the audit."""
    nanos = nanos_of(cost_usd)
    if nanos is None:
        raise click.BadParameter("give an amount in dollars, such as 0.04", param_hint="--cost-usd")
    settings = settings_of(config)
    by = author(reason, clock_of(settings))
    try:
        corrected = in_database(settings, lambda tx: correct.correct(tx, request_id, nanos, by))
    except (correct.UnknownRequest, ValueError) as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        print_json(corrected_facts(corrected))
        return
    click.echo(_said(corrected))
    if corrected.booked_in:
        click.echo(f"Its month is closed: this is booked in {corrected.booked_in}.")
    if corrected.held_nanos:
        click.echo(f"${usd(corrected.held_nanos)} more is held for it until that is resolved.")


def _said(corrected: Corrected) -> str:
    name, cost_usd = corrected.request_id, usd(corrected.after_nanos)
    if corrected.confirmed:
        return f"{name} is confirmed at ${cost_usd}: no longer an estimate."
    if corrected.corrections:
        return f"{name} cost ${usd(corrected.before_nanos)} and now costs ${cost_usd}."
    return f"The ledger already says that {name} cost ${cost_usd}."


@ledger.command("list")
@range_options
@click.option("--team", default=None, help="Of this team alone.")
@click.option("--estimated", is_flag=True, help="Only calls whose cost is still an estimate.")
@config_option
@csv_option
@json_option
def list_ledger(
    config: Path | None,
    since: str | None,
    to: str | None,
    team: str | None,
    estimated: bool,
    as_csv: bool,
    as_json: bool,
) -> None:
    """List the ledger's rows: by the day they are booked in, then by time.

    A correction is booked in its call's day, after it, or in the first open day where that is
    closed. With --estimated, all estimates that
    are still open, whatever their day, unless days are given.
    """
    settings = settings_of(config)
    days = open_range_of(since, to) if estimated else range_of(settings, since, to)
    pages = _pages(settings, days, team, estimated)
    if as_json:
        _print_json_pages(pages)
    elif as_csv:
        click.echo(csv_text(LEDGER_COLUMNS, ()), nl=False)
        for page in pages:
            click.echo(csv_text(LEDGER_COLUMNS, page).partition("\n")[2], nl=False)
    else:
        with working("reading the ledger"):
            rows = [row for page in pages for row in page]
        empty = "No cost is an estimate." if estimated else "No call was booked in these days."
        print_rows(rows, columns=SHOWN_COLUMNS, empty=empty)


def _pages(
    settings: Settings, days: DateRange, team: str | None, estimated: bool
) -> Iterator[list[dict[str, object]]]:
    """The ledger a page at a time, so that its size does not matter."""
    first, last, after = days.first_day, days.last_day, ""
    while True:

        async def page(tx: Transaction, after: str = after) -> list[LedgerRow]:
            read = reports.estimated_calls if estimated else reports.ledger_rows
            return await read(tx, first, last, team=team, after=after, limit=PAGE_ROWS)

        rows = in_database(settings, page, read=True)
        yield [ledger_facts(row) for row in rows]
        if len(rows) < PAGE_ROWS:
            return
        after = reports.cursor(rows[-1])


def _print_json_pages(pages: Iterator[list[dict[str, object]]]) -> None:
    separator = "[\n"
    for page in pages:
        for row in page:
            click.echo(separator + json.dumps(row, ensure_ascii=False), nl=False)
            separator = ",\n"
    click.echo("[]" if separator == "[\n" else "\n]")
