"""`gateway audit`."""

from __future__ import annotations

import click

from gateway.accounts.tables.audit import AuditRow, list_audit
from gateway.cli.options import moment_of, read_options
from gateway.cli.output import change_text, print_rows
from gateway.cli.state_access import read_state
from gateway.queries.models.accounts import ChangeView
from gateway.queries.models.read_model import Json
from gateway.settings import Settings

MOST_ROWS = 100_000


@click.command()
@click.option("--since", default=None, help="First day or time, such as 2026-11-01.")
@click.option("--subject", default=None, help="organisation, team:NAME, key:ID or token:ID.")
@read_options
def audit(settings: Settings, as_json: bool, since: str | None, subject: str | None) -> None:
    """List changes: author, time, old and new values, reason."""
    since_ms = moment_of(since)
    rows = read_state(
        settings, lambda tx: list_audit(tx, since_ms=since_ms, subject=subject, limit=MOST_ROWS)
    )
    shown = [ChangeView.of(row).row() if as_json else _line(row) for row in rows]
    print_rows(shown, as_json=as_json, empty="No change yet.")


def _line(row: AuditRow) -> Json:
    """A row with one text of all changed values instead of two documents."""
    facts = ChangeView.of(row).row()
    named = {name: facts[name] for name in ("at", "actor", "action", "subject")}
    return {**named, "change": change_text(row.old, row.new), "reason": row.reason}
