"""`gateway teams`."""

from __future__ import annotations

from typing import Any

import click

from gateway.accounts.rules.account_settings import AccountSettings
from gateway.accounts.tables import teams as accounts
from gateway.cli.options import change_options, read_options, reason_option, settings_option
from gateway.cli.output import print_record, print_rows
from gateway.cli.setting_options import edit_of, setting_options
from gateway.cli.state_access import author, change_state, read_state
from gateway.queries.models.accounts import account_view
from gateway.settings import Settings

TEAM_COLUMNS = (
    "name", "budget_usd", "budget_period", "unlimited", "paused", "owner", "cost_centre",
    "requests_per_minute", "paid_images_per_day", "models", "created_at", "archived_at",
)  # fmt: skip


@click.group()
def teams() -> None:
    """Teams and their limits."""


@teams.command("create")
@click.argument("name")
@setting_options("team")
@change_options
def create_team(settings: Settings, as_json: bool, name: str, reason: str, **options: Any) -> None:
    """Create a team. It needs a budget, --unlimited, or defaults in [new_team]."""
    edit, defaults = edit_of("team", options), AccountSettings(limits=settings.new_team)
    record = change_state(
        settings, lambda tx: accounts.create_team(tx, name, edit(defaults), author(reason))
    )
    print_record(account_view(record).row(), as_json)


@teams.command("update")
@click.argument("name")
@setting_options("team")
@change_options
def update_team(settings: Settings, as_json: bool, name: str, reason: str, **options: Any) -> None:
    """Change a team's limits; `none` removes one. In force within a second."""
    edit = edit_of("team", options)
    record = change_state(settings, lambda tx: accounts.update_team(tx, name, edit, author(reason)))
    print_record(account_view(record).row(), as_json)


@teams.command("list")
@click.option("--archived", is_flag=True, help="Include archived teams.")
@read_options
def list_teams(settings: Settings, as_json: bool, archived: bool) -> None:
    """List teams."""
    found = read_state(settings, lambda tx: accounts.list_teams(tx, archived=archived))
    print_rows(
        [account_view(record).row() for record in found],
        as_json=as_json,
        columns=TEAM_COLUMNS,
        empty="No team yet: gateway teams create NAME --budget-usd 50",
    )


@teams.command("archive")
@click.argument("name")
@reason_option
@settings_option
def archive_team(settings: Settings, name: str, reason: str) -> None:
    """Archive a team: its keys stop working, its spending stays booked."""
    change_state(settings, lambda tx: accounts.archive_team(tx, name, author(reason)))
    click.echo(f"The team {name} is archived and its keys no longer work.")
