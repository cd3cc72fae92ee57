"""`gateway tokens`."""

from __future__ import annotations

import click

from gateway.accounts.tables import tokens as accounts
from gateway.cli.options import change_options, read_options, reason_option, settings_option
from gateway.cli.output import print_rows, print_secret
from gateway.cli.state_access import author, change_state, read_state
from gateway.queries.models.accounts import TokenView
from gateway.settings import Settings


@click.group()
def tokens() -> None:
    """Admin tokens for /admin/v1, each with a role."""


@tokens.command("create")
@click.argument("name")
@click.option("--role", required=True, help="admin, finance (may read and correct), or team:NAME.")
@change_options
def create_token(settings: Settings, as_json: bool, name: str, role: str, reason: str) -> None:
    """Create an admin token. Its secret is shown only once."""
    made = change_state(settings, lambda tx: accounts.create_token(tx, name, role, author(reason)))
    print_secret(TokenView.of(made.token).row(), made.secret, as_json, "token")


@tokens.command("list")
@click.option("--revoked", is_flag=True, help="Include revoked tokens.")
@read_options
def list_tokens(settings: Settings, as_json: bool, revoked: bool) -> None:
    """List admin tokens."""
    found = read_state(settings, lambda tx: accounts.list_tokens(tx, revoked=revoked))
    print_rows(
        [TokenView.of(token).row() for token in found], as_json=as_json, empty="No token yet."
    )


@tokens.command("revoke")
@click.argument("token")
@reason_option
@settings_option
def revoke_token(settings: Settings, token: str, reason: str) -> None:
    """Revoke an admin token, by its id or its name."""
    record = change_state(settings, lambda tx: accounts.revoke_token(tx, token, author(reason)))
    click.echo(f"The token {record.id} ({record.name}) is revoked.")
