"""`gateway keys`."""

from __future__ import annotations

from typing import Any

import click

from gateway.accounts.rules.account_settings import AccountSettings
from gateway.accounts.tables import keys as accounts
from gateway.cli.options import (
    change_options,
    milliseconds_of,
    read_options,
    reason_option,
    settings_option,
    team_option,
)  # fmt: skip
from gateway.cli.output import print_record, print_rows, print_secret
from gateway.cli.setting_options import edit_of, setting_options
from gateway.cli.state_access import author, change_state, read_state
from gateway.queries.models.accounts import key_view
from gateway.settings import Settings

KEY_COLUMNS = (
    "id", "team", "name", "secret_hint", "budget_usd", "budget_period", "tags", "expires_at",
    "created_at", "revoked_at",
)  # fmt: skip


@click.group()
def keys() -> None:
    """API keys of teams."""


@keys.command("create")
@click.option("--team", required=True, help="Team that pays; it can't be changed later.")
@click.option("--name", required=True, help="Name of the key, such as its use.")
@setting_options("key")
@change_options
def create_key(
    settings: Settings, as_json: bool, team: str, name: str, reason: str, **options: Any
) -> None:
    """Create a key. Its secret is shown only once."""
    edit = edit_of("key", options)
    made = change_state(
        settings,
        lambda tx: accounts.create_key(tx, team, name, edit(AccountSettings()), author(reason)),
    )
    print_secret(key_view(made.key).row(), made.secret, as_json, "key")


@keys.command("update")
@click.argument("key")
@setting_options("key")
@change_options
def update_key(settings: Settings, as_json: bool, key: str, reason: str, **options: Any) -> None:
    """Change a key's limits. KEY is its id, or TEAM/NAME."""
    edit = edit_of("key", options)
    record = change_state(settings, lambda tx: accounts.update_key(tx, key, edit, author(reason)))
    print_record(key_view(record).row(), as_json)


@keys.command("list")
@team_option
@click.option("--revoked", is_flag=True, help="Include revoked keys.")
@read_options
def list_keys(settings: Settings, as_json: bool, team: str | None, revoked: bool) -> None:
    """List keys, without their secrets."""
    found = read_state(settings, lambda tx: accounts.list_keys(tx, team=team, revoked=revoked))
    print_rows(
        [key_view(record).row() for record in found],
        as_json=as_json,
        columns=KEY_COLUMNS,
        empty="No key yet: gateway keys create --team T --name N",
    )


@keys.command("revoke")
@click.argument("key")
@reason_option
@settings_option
def revoke_key(settings: Settings, key: str, reason: str) -> None:
    """Revoke a key within a second. KEY is its id, or TEAM/NAME."""
    record = change_state(settings, lambda tx: accounts.revoke_key(tx, key, author(reason)))
    click.echo(f"The key {record.id} ({record.team}/{record.name}) is revoked.")


@keys.command("rotate")
@click.argument("key")
@click.option(
    "--grace", default="24h", show_default=True, help="How long the old secret stays valid."
)
@change_options
def rotate_key(settings: Settings, as_json: bool, key: str, grace: str, reason: str) -> None:
    """Give a key a new secret, shown only once. KEY is its id, or TEAM/NAME."""
    grace_ms = milliseconds_of(grace, "--grace")
    made = change_state(
        settings, lambda tx: accounts.rotate_key(tx, key, author(reason), grace_ms=grace_ms)
    )
    print_secret(key_view(made.key).row(), made.secret, as_json, "key")
