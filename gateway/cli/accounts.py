"""`gateway organisation`, `teams`, `keys`, `tokens`, `pause`, `resume` and `audit`."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import click

from gateway.accounts.rules.account_settings import AccountSettings
from gateway.accounts.tables import keys as key_table
from gateway.accounts.tables import organisation as organisation_table
from gateway.accounts.tables import teams as team_table
from gateway.accounts.tables import tokens as token_table
from gateway.accounts.tables.accounts import AccountRecord, Edit
from gateway.accounts.tables.audit import AuditRow, Author, list_audit
from gateway.accounts.tables.keys import KeyRecord
from gateway.cli import completion
from gateway.cli.budgets import FIGURES, beside, with_budgets
from gateway.cli.key_snippets import print_snippets
from gateway.cli.options import (
    ListedPart,
    change_options,
    listing_options,
    milliseconds_of,
    moment_of,
    read_options,
    reason_option,
    setting_options,
    settings_option,
    team_option,
)
from gateway.cli.output import change_text, print_record, print_rows, print_secret
from gateway.cli.state_access import change_state, read_state
from gateway.database.database import Operation, Transaction
from gateway.model.units import time_text
from gateway.queries.csv_table import CsvStyle
from gateway.queries.models.accounts import ChangeView, TokenView, account_view, key_view
from gateway.queries.models.read_model import Json
from gateway.settings import Settings

TEAM_COLUMNS = (
    "name", "budget_usd", "budget_period", "unlimited", "paused", "owner", "cost_centre",
    "requests_per_minute", "paid_images_per_day", "models", "created_at", "archived_at", *FIGURES,
)  # fmt: skip
KEY_COLUMNS = (
    "id", "team", "name", "secret_hint", "sandbox", "budget_usd", "budget_period", "tags",
    "expires_at", "created_at", "revoked_at", *FIGURES,
)  # fmt: skip

TOKEN_COLUMNS = ("id", "name", "role", "secret_hint", "created_at", "revoked_at")
AUDIT_COLUMNS = ("at", "actor", "action", "subject", "change", "reason")
KEPT_OF_AUDIT = ("at", "action", "subject", "change")


@click.group()
def organisation() -> None:
    """Limits of the organisation, for all traffic."""


@organisation.command("show")
@read_options
def show_organisation(settings: Settings, as_json: bool) -> None:
    """Show the organisation's limits."""
    _show_account(settings, organisation_table.show_organisation, as_json)


@organisation.command("update")
@setting_options("organisation")
@change_options
def update_organisation(settings: Settings, as_json: bool, by: Author, edit: Edit) -> None:
    """Change the organisation's limits; `none` removes one."""
    record = change_state(settings, lambda tx: organisation_table.update_organisation(tx, edit, by))
    _print_account(record, as_json)


def _show_account(settings: Settings, find: Operation[AccountRecord], as_json: bool) -> None:
    async def listed(tx: Transaction) -> Sequence[AccountRecord]:
        return [await find(tx)]

    (record,), budgets = with_budgets(settings, listed, lambda each: each)
    row = account_view(record, budget=budgets[record.id]).row()
    print_record(row if as_json else beside(row), as_json)


def _print_account(record: AccountRecord, as_json: bool) -> None:
    print_record(account_view(record).row(), as_json)


@click.command()
@team_option
@reason_option
@settings_option
def pause(settings: Settings, team: str | None, by: Author) -> None:
    """Stop paid calls within a second; cache hits are still served."""
    change_state(settings, lambda tx: organisation_table.pause(tx, by, team))
    click.echo(f"Spending is paused for {team or 'all teams'}. Stored pictures are still served.")


@click.command()
@team_option
@reason_option
@settings_option
def resume(settings: Settings, team: str | None, by: Author) -> None:
    """Allow paid calls again."""
    change_state(settings, lambda tx: organisation_table.resume(tx, by, team))
    click.echo(f"Spending is resumed for {team or 'all teams'}.")


@click.group()
def teams() -> None:
    """Teams and their limits."""


@teams.command("create")
@click.argument("name")
@setting_options("team")
@change_options
def create_team(settings: Settings, as_json: bool, name: str, by: Author, edit: Edit) -> None:
    """Create a team. It needs a budget (given here or in [new_team]), or --unlimited."""
    defaults = AccountSettings(limits=settings.new_team)
    record = change_state(settings, lambda tx: team_table.create_team(tx, name, edit(defaults), by))
    _print_account(record, as_json)


@teams.command("update")
@click.argument("name", shell_complete=completion.TEAMS)
@setting_options("team")
@change_options
def update_team(settings: Settings, as_json: bool, name: str, by: Author, edit: Edit) -> None:
    """Change a team's limits; `none` removes one. In force within a second."""
    record = change_state(settings, lambda tx: team_table.update_team(tx, name, edit, by))
    _print_account(record, as_json)


@teams.command("show")
@click.argument("name")
@read_options
def show_team(settings: Settings, as_json: bool, name: str) -> None:
    """Show a team's limits, and the state of its budget."""
    _show_account(settings, lambda tx: team_table.show_team(tx, name), as_json)


@teams.command("list")
@click.option("--archived", is_flag=True, help="Include archived teams.")
@listing_options
def list_teams(
    settings: Settings, as_json: bool, as_csv: CsvStyle | None, part: ListedPart, archived: bool
) -> None:
    """List teams by name."""
    after = f"team:{part.after}" if part.after else ""
    list_page = functools.partial(team_table.list_teams, after=after, limit=part.fetch)
    find = functools.partial(list_page, archived=archived)
    found, budgets = with_budgets(settings, find, lambda team: team)
    shown = part.shown(found, lambda team: team.name)
    rows = [account_view(team, budget=budgets[team.id]).row() for team in shown]
    print_rows(
        rows if as_json else [*map(beside, rows)],
        as_json=as_json,
        as_csv=as_csv,
        columns=TEAM_COLUMNS,
        kept=("name", "budget_usd"),
        empty=part.empty("No team yet: gateway teams create NAME --budget-usd 50"),
    )


@teams.command("archive")
@click.argument("name", shell_complete=completion.TEAMS)
@reason_option
@settings_option
def archive_team(settings: Settings, name: str, by: Author) -> None:
    """Archive a team: its keys stop working, its spending stays booked."""
    change_state(settings, lambda tx: team_table.archive_team(tx, name, by))
    click.echo(f"The team {name} is archived and its keys no longer work.")


@click.group()
def keys() -> None:
    """API keys of teams."""


@keys.command("create")
@click.option(
    "--team",
    required=True,
    shell_complete=completion.TEAMS,
    help="Team that pays; it can't be changed later.",
)
@click.option("--name", required=True, help="Name of the key, such as its use.")
@setting_options("key")
@change_options
def create_key(
    settings: Settings, as_json: bool, team: str, name: str, by: Author, edit: Edit
) -> None:
    """Create a key. Its secret is shown only once."""
    made = change_state(
        settings,
        lambda tx: key_table.create_key(tx, team, name, edit(AccountSettings()), by),
    )
    print_secret(key_view(made.key).row(), made.secret, as_json, "key")
    if not as_json:
        print_snippets(settings, made)


@keys.command("update")
@click.argument("key", shell_complete=completion.KEYS)
@setting_options("key")
@change_options
def update_key(settings: Settings, as_json: bool, key: str, by: Author, edit: Edit) -> None:
    """Change a key's limits. KEY is its id, or TEAM/NAME."""
    record = change_state(settings, lambda tx: key_table.update_key(tx, key, edit, by))
    print_record(key_view(record).row(), as_json)


@keys.command("show")
@click.argument("key")
@read_options
def show_key(settings: Settings, as_json: bool, key: str) -> None:
    """Show a key's limits, and the state of its budget. KEY is its id, or TEAM/NAME."""

    async def find(tx: Transaction) -> Sequence[KeyRecord]:
        return [await key_table.show_key(tx, key)]

    (record,), budgets = with_budgets(settings, find, lambda each: each.account)
    row = key_view(record, budget=budgets[record.account.id]).row()
    print_record(row if as_json else beside(row), as_json)


@keys.command("list")
@team_option
@click.option("--revoked", is_flag=True, help="Include revoked keys.")
@listing_options
def list_keys(
    settings: Settings,
    as_json: bool,
    as_csv: CsvStyle | None,
    part: ListedPart,
    team: str | None,
    revoked: bool,
) -> None:
    """List keys by id, without their secrets."""
    after = f"key:{part.after}" if part.after else ""
    list_page = functools.partial(key_table.list_keys, after=after, limit=part.fetch)
    find = functools.partial(list_page, team=team, revoked=revoked)
    found, budgets = with_budgets(settings, find, lambda key: key.account)
    shown = part.shown(found, lambda key: key.id)
    rows = [key_view(key, budget=budgets[key.account.id]).row() for key in shown]
    print_rows(
        rows if as_json else [*map(beside, rows)],
        as_json=as_json,
        as_csv=as_csv,
        columns=KEY_COLUMNS,
        kept=("id", "team", "name"),
        empty=part.empty("No key yet: gateway keys create --team T --name N"),
    )


@keys.command("revoke")
@click.argument("key", shell_complete=completion.KEYS)
@reason_option
@settings_option
def revoke_key(settings: Settings, key: str, by: Author) -> None:
    """Revoke a key within a second. KEY is its id, or TEAM/NAME."""
    record = change_state(settings, lambda tx: key_table.revoke_key(tx, key, by))
    click.echo(f"The key {record.id} ({record.team}/{record.name}) is revoked.")


@keys.command("rotate")
@click.argument("key", shell_complete=completion.KEYS)
@click.option(
    "--grace",
    default="24h",
    show_default=True,
    help="How long the old secret stays valid; 0 ends it. Earlier ones keep their own grace.",
)
@change_options
def rotate_key(settings: Settings, as_json: bool, key: str, grace: str, by: Author) -> None:
    """Give a key a new secret, shown only once. KEY is its id, or TEAM/NAME."""
    grace_ms = milliseconds_of(grace, "--grace")
    made = change_state(settings, lambda tx: key_table.rotate_key(tx, key, by, grace_ms=grace_ms))
    print_secret(key_view(made.key).row(), made.secret, as_json, "key")
    until = time_text(made.key.rotated_until_ms or 0)
    status = f"is valid until {until}" if grace_ms else "is no longer valid (within a second)"
    click.echo(f"The old secret {status}.", err=True)
    if not as_json:
        print_snippets(settings, made)


@click.group()
def tokens() -> None:
    """Admin tokens for /admin/v1, each with a role."""


@tokens.command("create")
@click.argument("name")
@click.option(
    "--role",
    required=True,
    shell_complete=completion.ROLES,
    help="admin, finance (may read and correct), or team:NAME.",
)
@change_options
def create_token(settings: Settings, as_json: bool, name: str, role: str, by: Author) -> None:
    """Create an admin token. Its secret is shown only once."""
    made = change_state(settings, lambda tx: token_table.create_token(tx, name, role, by))
    print_secret(TokenView.of(made.token).row(), made.secret, as_json, "token")


@tokens.command("list")
@click.option("--revoked", is_flag=True, help="Include revoked tokens.")
@listing_options
def list_tokens(
    settings: Settings, as_json: bool, as_csv: CsvStyle | None, part: ListedPart, revoked: bool
) -> None:
    """List admin tokens by name, without their secrets."""
    found = read_state(settings, lambda tx: token_table.list_tokens(tx, revoked=revoked))
    shown = part.cut(found, lambda token: token.id)
    print_rows(
        [TokenView.of(token).row() for token in shown],
        as_json=as_json,
        as_csv=as_csv,
        columns=TOKEN_COLUMNS,
        empty=part.empty("No token yet."),
    )


@tokens.command("revoke")
@click.argument("token", shell_complete=completion.TOKENS)
@reason_option
@settings_option
def revoke_token(settings: Settings, token: str, by: Author) -> None:
    """Revoke an admin token, by its id or its name."""
    record = change_state(settings, lambda tx: token_table.revoke_token(tx, token, by))
    click.echo(f"The token {record.id} ({record.name}) is revoked.")


@click.command()
@click.option("--since", default=None, help="First day or time, such as 2026-11-01.")
@click.option(
    "--subject",
    default=None,
    shell_complete=completion.SUBJECTS,
    help="organisation, team:NAME, key:ID or token:ID.",
)
@listing_options
def audit(
    settings: Settings,
    as_json: bool,
    as_csv: CsvStyle | None,
    part: ListedPart,
    since: str | None,
    subject: str | None,
) -> None:
    """List changes: author, time, old and new values, reason."""
    if part.after and not (part.after.isdecimal() and len(part.after) < 16):
        raise click.BadParameter("give the number of a change", param_hint="--after")
    since_ms, after = moment_of(since), int(part.after or 0)
    list_page = functools.partial(list_audit, since_ms=since_ms, after=after, limit=part.fetch)
    found = part.shown(read_state(settings, lambda tx: list_page(tx, subject=subject)), _change_id)
    shown = [ChangeView.of(row).row() if as_json else _audit_line(row) for row in found]
    columns, empty = None if as_json else AUDIT_COLUMNS, part.empty("No change yet.")
    print_rows(
        shown, as_json=as_json, as_csv=as_csv, columns=columns, kept=KEPT_OF_AUDIT, empty=empty
    )


def _change_id(row: AuditRow) -> int:
    return row.id


def _audit_line(row: AuditRow) -> Json:
    """A row with one text of all changed values instead of two documents."""
    facts = ChangeView.of(row).row()
    named = {name: facts[name] for name in ("at", "actor", "action", "subject")}
    return {**named, "change": change_text(row.old, row.new), "reason": row.reason}
