"""`gateway organisation`, `gateway pause`, `gateway resume`."""

from __future__ import annotations

from typing import Any

import click

from gateway.accounts.tables import organisation as accounts
from gateway.cli.options import (
    change_options,
    read_options,
    reason_option,
    settings_option,
    team_option,
)  # fmt: skip
from gateway.cli.output import print_record
from gateway.cli.setting_options import edit_of, setting_options
from gateway.cli.state_access import author, change_state, read_state
from gateway.queries.models.accounts import account_view
from gateway.settings import Settings


@click.group()
def organisation() -> None:
    """Limits of the organisation, for all traffic."""


@organisation.command("show")
@read_options
def show_organisation(settings: Settings, as_json: bool) -> None:
    """Show the organisation's limits."""
    print_record(read_state(settings, accounts.show_organisation).facts(), as_json)


@organisation.command("update")
@setting_options("organisation")
@change_options
def update_organisation(settings: Settings, as_json: bool, reason: str, **options: Any) -> None:
    """Change the organisation's limits; `none` removes one."""
    edit = edit_of("organisation", options)
    record = change_state(
        settings, lambda tx: accounts.update_organisation(tx, edit, author(reason))
    )
    print_record(account_view(record).row(), as_json)


@click.command()
@team_option
@reason_option
@settings_option
def pause(settings: Settings, team: str | None, reason: str) -> None:
    """Stop paid calls within a second; cache hits are still served."""
    change_state(settings, lambda tx: accounts.pause(tx, author(reason), team))
    click.echo(f"Spending is paused for {team or 'all teams'}. Stored pictures are still served.")


@click.command()
@team_option
@reason_option
@settings_option
def resume(settings: Settings, team: str | None, reason: str) -> None:
    """Allow paid calls again."""
    change_state(settings, lambda tx: accounts.resume(tx, author(reason), team))
    click.echo(f"Spending is resumed for {team or 'all teams'}.")
