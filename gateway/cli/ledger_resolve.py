"""`gateway ledger resolve`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from gateway.accounts.tables.audit import Author
from gateway.cli.options import change_options
from gateway.cli.output import print_json, print_rows, working
from gateway.cli.state_access import by_clock, change_state, read_state
from gateway.database.database import Transaction
from gateway.ledger.rules.abandonment import Abandonment
from gateway.ledger.tables import unresolved_reservations
from gateway.ledger.tables.ledger_rows import OpenReservation
from gateway.ledger.tables.unresolved_reservations import UnresolvedReservation
from gateway.queries.models.ledger import HeldView, ReservationView, ResolutionView
from gateway.settings import Settings

BATCH = 100
HELD_COLUMNS = ("id", "made_at", "request_id", "team", "key", "model", "held_usd", "images", "why")


@click.command("resolve")
@click.option("--dry-run", is_flag=True, help="Only print what would be settled.")
@change_options
def resolve(settings: Settings, as_json: bool, dry_run: bool, by: Author) -> None:
    """Settle the reservations of dead processes at their ceiling, as estimates.

    A reservation is abandoned when its process has stopped its heartbeat and the reservation is
    older than the longest possible call (2 × timeout_seconds, queue_seconds and 20 s, at the
    upstream where that is longest).
    It is never voided: the call may have been charged. A running gateway does the same by itself.
    """
    by = by_clock(settings, by)
    rule = Abandonment(by.now_ms, settings.longest_flight_ms)
    found = read_state(settings, unresolved_reservations.list_unresolved)
    if dry_run:
        settled = [each.held for each in found if each.is_abandoned(rule)]
    else:
        with working("settling"):
            settled = _settle(settings, rule, by)
    done = {held.id for held in settled}
    left = [each for each in found if each.held.id not in done]
    if as_json:
        views = [(ReservationView.of_unresolved(each, abandoned=False), each) for each in left]
        facts = [{**view.row(), "why": _why_not(rule, each)} for view, each in views]
        print_json({"dry_run": dry_run, **ResolutionView.of_settled(settled).row(), "left": facts})
        return
    _print_resolved(settled, dry_run)
    if left:
        click.echo(f"\n{len(left)} are not abandoned:")
        shown = [{**HeldView.of(each.held).row(), "why": _why_not(rule, each)} for each in left]
        print_rows(shown, columns=HELD_COLUMNS)


def _why_not(rule: Abandonment, unresolved: UnresolvedReservation) -> str:
    """Why a reservation is not settled."""
    heartbeat_ms = unresolved.heartbeat_ms
    if heartbeat_ms is not None and rule.is_alive(heartbeat_ms):
        ago = max(0, rule.now_ms - heartbeat_ms) // 1000
        return f"its process may still run: last heartbeat {ago} s ago"
    age, longest = rule.now_ms - unresolved.held.made_ms, rule.longest_flight_ms
    return (
        f"its process is dead, but the call may still run: {age // 1000} s old, settled "
        f"when older than {longest // 1000} s"
    )


def _settle(settings: Settings, rule: Abandonment, by: Author) -> list[OpenReservation]:
    """Settle every abandoned reservation, a batch per transaction."""
    settled: list[OpenReservation] = []

    async def some(tx: Transaction) -> Sequence[OpenReservation]:
        return await unresolved_reservations.resolve(tx, by, rule, limit=BATCH)

    while True:
        batch = change_state(settings, some)
        settled += batch
        if len(batch) < BATCH:
            return settled


def _print_resolved(settled: Sequence[OpenReservation], dry_run: bool) -> None:
    if not settled:
        click.echo("Nothing is abandoned.")
        return
    total = ResolutionView.of_settled(settled).booked_usd
    verb = "would be settled" if dry_run else "settled"
    click.echo(f"{len(settled)} abandoned reservations {verb} at ${total}, estimated:")
    print_rows([HeldView.of(held).row() for held in settled], columns=HELD_COLUMNS[:-1])
