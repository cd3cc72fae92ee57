"""The ledger: its proof, what crashes left in it, its corrections and its rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from gateway.cli.context import (
    author,
    config_option,
    csv_text,
    in_database,
    json_option,
    print_json,
    print_rows,
    reason_option,
    settings_of,
)
from gateway.cli.days import Range, csv_option, range_of, range_options, working
from gateway.clock import now_ms
from gateway.parts import HEARTBEAT_EXPIRY_MS, longest_flight_ms
from gateway.rules.money import nanos_of
from gateway.settings import Settings
from gateway.showing import (
    corrected_facts,
    held_facts,
    ledger_facts,
    resolved_facts,
    unresolved_facts,
    verification_facts,
)
from gateway.state import correcting, reports, resolving, verifying
from gateway.state.audit import Author, append
from gateway.state.booking import LedgerRow, OpenReservation
from gateway.state.database import Transaction
from gateway.state.resolving import Unresolved

PAGE_ROWS = 10_000
BATCH = 100
LEDGER_COLUMNS = (
    "id", "kind", "corrects", "at", "day", "request_id", "upstream_request_id", "credential",
    "team", "key", "model", "route", "fingerprint", "reference_images", "body_bytes",
    "answer_bytes", "status", "n", "images", "cost_usd", "estimated", "owner", "cost_centre",
    "tags",
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
    """Prove that balances and roll-ups are what the ledger adds up to.

    Ends with status 1 where they are not.
    """
    with working("adding up the ledger"):
        found = in_database(settings_of(config), verifying.verify, read=True)
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
    if not differences:
        click.echo("The balances are what the ledger adds up to.")
        return
    click.echo(f"{len(differences)} balances are NOT what the ledger adds up to:")
    print_rows(differences)


@ledger.command("resolve")
@click.option("--dry-run", is_flag=True, help="Only say what would be settled.")
@reason_option
@config_option
@json_option
def resolve_ledger(config: Path | None, as_json: bool, dry_run: bool, reason: str) -> None:
    """Settle what dead processes have left held: at the ceiling, as an estimate.

    Only where the process has not been heard of for a while and the reservation is older
    than the longest possible call (2 × [upstream] timeout_seconds). Nothing is ever voided:
    the call may have been charged. A gateway that runs does the same by itself.
    """
    settings = settings_of(config)
    rule = Abandonment(now_ms(), longest_flight_ms(settings))
    found = in_database(settings, resolving.list_unresolved, read=True)
    if dry_run:
        settled = [each.held for each in found if rule.holds_for(each)]
    else:
        with working("settling"):
            settled = _settle(settings, rule, author(reason))
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
            return f"in flight: its process lives, heard of {ago} s ago"
        age, longest = self.now_ms - unresolved.held.made_ms, self.longest_flight_ms
        return (
            f"its process is gone, but the call may still run: {age // 1000} s old, settled "
            f"when older than {longest // 1000} s"
        )


def _settle(settings: Settings, rule: Abandonment, by: Author) -> list[OpenReservation]:
    """Settle everything that is abandoned, a batch to a transaction."""
    settled: list[OpenReservation] = []

    async def some(tx: Transaction) -> Sequence[OpenReservation]:
        resolved = await resolving.resolve(
            tx,
            now_ms=rule.now_ms,
            longest_flight_ms=rule.longest_flight_ms,
            heartbeat_expiry_ms=HEARTBEAT_EXPIRY_MS,
            limit=BATCH,
        )
        if resolved:
            booked_usd = resolved_facts(resolved)["booked_usd"]
            told = {"reservations": [held.id for held in resolved], "booked_usd": booked_usd}
            await append(tx, by, "ledger.resolve", "ledger", {}, told)
        return resolved

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
    try:
        corrected = in_database(
            settings_of(config),
            lambda tx: correcting.correct(tx, request_id, nanos, author(reason)),
        )
    except (correcting.UnknownRequest, ValueError) as error:
        raise click.ClickException(str(error)) from None
    facts = corrected_facts(corrected)
    if as_json:
        print_json(facts)
    elif corrected.corrections:
        click.echo(f"{request_id} cost ${facts['before_usd']} and now costs ${facts['cost_usd']}.")
    else:
        click.echo(f"The ledger already says that {request_id} cost ${facts['cost_usd']}.")


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
    """List the ledger's rows, as they were booked."""
    settings = settings_of(config)
    pages = _pages(settings, range_of(settings, since, to), team, estimated)
    if as_json:
        _print_json_pages(pages)
    elif as_csv:
        click.echo(csv_text(LEDGER_COLUMNS, ()), nl=False)
        for page in pages:
            click.echo(csv_text(LEDGER_COLUMNS, page).partition("\n")[2], nl=False)
    else:
        with working("reading the ledger"):
            rows = [row for page in pages for row in page]
        print_rows(rows, columns=SHOWN_COLUMNS, empty="No call was booked in these days.")


def _pages(
    settings: Settings, days: Range, team: str | None, estimated: bool
) -> Iterator[list[dict[str, object]]]:
    """The ledger a page at a time, so that its size does not matter."""
    first, last, after = days.first_day, days.last_day, ""
    while True:

        async def page(tx: Transaction, after: str = after) -> list[LedgerRow]:
            if estimated:
                return await reports.estimated_calls(tx, first, last, after=after, limit=PAGE_ROWS)
            return await reports.ledger_rows(
                tx, first, last, team=team, after=after, limit=PAGE_ROWS
            )

        rows = in_database(settings, page, read=True)
        yield [ledger_facts(row) for row in rows if team in (None, row.team)]
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
