"""Who may spend what: organisation, teams, keys, admin tokens, pauses, and their audit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from gateway.accounts.rules.account_settings import AccountSettings, change_settings
from gateway.accounts.tables import audit as audits
from gateway.accounts.tables import keys as key_state
from gateway.accounts.tables import organisation as organisation_state
from gateway.accounts.tables import teams as team_state
from gateway.accounts.tables import tokens as token_state
from gateway.accounts.tables.audit import AuditRow
from gateway.cli.context import (
    author,
    config_option,
    in_state,
    json_option,
    moment,
    print_json,
    print_rows,
    reason_option,
    settings_of,
    told_change,
)
from gateway.cli.setting_options import given_settings, setting_options
from gateway.model.units import seconds_of
from gateway.queries.serializers import Facts, audit_facts, key_facts, team_facts, token_facts

TEAM_COLUMNS = (
    "name", "budget_usd", "budget_period", "unlimited", "paused", "owner", "cost_centre",
    "requests_per_minute", "paid_images_per_day", "models", "created_at", "archived_at",
)  # fmt: skip
KEY_COLUMNS = (
    "id", "team", "name", "secret_hint", "budget_usd", "budget_period", "tags", "expires_at",
    "created_at", "revoked_at",
)  # fmt: skip


# --- organisation ---------------------------------------------------------------------


@click.group()
def organisation() -> None:
    """What bounds everybody together."""


@organisation.command("show")
@config_option
@json_option
def show_organisation(config: Path | None, as_json: bool) -> None:
    """Show the organisation's limits."""
    record = in_state(config, organisation_state.show_organisation, read=True)
    _print_one(record.facts(), as_json)


@organisation.command("update")
@setting_options("organisation")
@reason_option
@config_option
@json_option
def update_organisation(config: Path | None, as_json: bool, reason: str, **flags: Any) -> None:
    """Change the organisation's limits; `none` takes one away."""
    given = given_settings("organisation", flags)
    record = in_state(
        config,
        lambda tx: organisation_state.update_organisation(
            tx, lambda terms: change_settings(terms, "organisation", given), author(reason)
        ),
    )
    _print_one(record.facts(), as_json)


# --- teams ----------------------------------------------------------------------------


@click.group()
def teams() -> None:
    """Teams and what each may spend."""


@teams.command("create")
@click.argument("name")
@setting_options("team")
@reason_option
@config_option
@json_option
def create_team(config: Path | None, as_json: bool, name: str, reason: str, **flags: Any) -> None:
    """Make a team. It needs a budget, or --unlimited, or defaults under [new_team]."""
    defaults = AccountSettings(limits=settings_of(config).new_team)
    given = given_settings("team", flags)
    record = in_state(
        config,
        lambda tx: team_state.create_team(
            tx, name, change_settings(defaults, "team", given), author(reason)
        ),
    )
    _print_one(team_facts(record), as_json)


@teams.command("update")
@click.argument("name")
@setting_options("team")
@reason_option
@config_option
@json_option
def update_team(config: Path | None, as_json: bool, name: str, reason: str, **flags: Any) -> None:
    """Change a team's limits; `none` takes one away. In force within a second."""
    given = given_settings("team", flags)
    record = in_state(
        config,
        lambda tx: team_state.update_team(
            tx, name, lambda terms: change_settings(terms, "team", given), author(reason)
        ),
    )
    _print_one(team_facts(record), as_json)


@teams.command("list")
@click.option("--archived", is_flag=True, help="Archived ones too.")
@config_option
@json_option
def list_teams(config: Path | None, as_json: bool, archived: bool) -> None:
    """List teams."""
    found = in_state(config, lambda tx: team_state.list_teams(tx, archived=archived), read=True)
    print_rows(
        [team_facts(record) for record in found],
        as_json=as_json,
        columns=TEAM_COLUMNS,
        empty="No team yet: gateway teams create NAME --budget-usd 50",
    )


@teams.command("archive")
@click.argument("name")
@reason_option
@config_option
def archive_team(config: Path | None, name: str, reason: str) -> None:
    """End a team: its keys stop working, what it spent stays booked."""
    in_state(config, lambda tx: team_state.archive_team(tx, name, author(reason)))
    click.echo(f"The team {name} is archived and its keys no longer work.")


# --- keys -----------------------------------------------------------------------------


@click.group()
def keys() -> None:
    """API keys of teams."""


@keys.command("create")
@click.option("--team", required=True, help="The team that pays; it never changes.")
@click.option("--name", required=True, help="What the key is for.")
@setting_options("key")
@reason_option
@config_option
@json_option
def create_key(
    config: Path | None, as_json: bool, team: str, name: str, reason: str, **flags: Any
) -> None:
    """Make a key. Its secret is shown this once."""
    terms = change_settings(AccountSettings(), "key", given_settings("key", flags))
    made = in_state(config, lambda tx: key_state.create_key(tx, team, name, terms, author(reason)))
    _print_secret(key_facts(made.key), made.secret, as_json, "key")


@keys.command("update")
@click.argument("key")
@setting_options("key")
@reason_option
@config_option
@json_option
def update_key(config: Path | None, as_json: bool, key: str, reason: str, **flags: Any) -> None:
    """Change a key's limits. KEY is its id, or TEAM/NAME."""
    given = given_settings("key", flags)
    record = in_state(
        config,
        lambda tx: key_state.update_key(
            tx, key, lambda terms: change_settings(terms, "key", given), author(reason)
        ),
    )
    _print_one(key_facts(record), as_json)


@keys.command("list")
@click.option("--team", default=None, help="Of this team alone.")
@click.option("--revoked", is_flag=True, help="Revoked ones too.")
@config_option
@json_option
def list_keys(config: Path | None, as_json: bool, team: str | None, revoked: bool) -> None:
    """List keys; secrets can't be shown again."""
    found = in_state(
        config, lambda tx: key_state.list_keys(tx, team=team, revoked=revoked), read=True
    )
    print_rows(
        [key_facts(record) for record in found],
        as_json=as_json,
        columns=KEY_COLUMNS,
        empty="No key yet: gateway keys create --team T --name N",
    )


@keys.command("revoke")
@click.argument("key")
@reason_option
@config_option
def revoke_key(config: Path | None, key: str, reason: str) -> None:
    """End a key, everywhere within a second. KEY is its id, or TEAM/NAME."""
    record = in_state(config, lambda tx: key_state.revoke_key(tx, key, author(reason)))
    click.echo(f"The key {record.id} ({record.team}/{record.name}) is revoked.")


@keys.command("rotate")
@click.argument("key")
@click.option("--grace", default="24h", show_default=True, help="How long the old secret lives on.")
@reason_option
@config_option
@json_option
def rotate_key(config: Path | None, as_json: bool, key: str, grace: str, reason: str) -> None:
    """Give a key a new secret, shown this once. KEY is its id, or TEAM/NAME."""
    grace_ms = int(_span(grace) * 1000)
    made = in_state(
        config, lambda tx: key_state.rotate_key(tx, key, author(reason), grace_ms=grace_ms)
    )
    _print_secret(key_facts(made.key), made.secret, as_json, "key")


# --- tokens ---------------------------------------------------------------------------


@click.group()
def tokens() -> None:
    """Tokens for /admin/v1, each with a role."""


@tokens.command("create")
@click.argument("name")
@click.option("--role", required=True, help="admin, finance (reads, corrects), or team:NAME.")
@reason_option
@config_option
@json_option
def create_token(config: Path | None, as_json: bool, name: str, role: str, reason: str) -> None:
    """Make an admin token. Its secret is shown this once."""
    made = in_state(config, lambda tx: token_state.create_token(tx, name, role, author(reason)))
    _print_secret(token_facts(made.token), made.secret, as_json, "token")


@tokens.command("list")
@click.option("--revoked", is_flag=True, help="Revoked ones too.")
@config_option
@json_option
def list_tokens(config: Path | None, as_json: bool, revoked: bool) -> None:
    """List admin tokens."""
    found = in_state(config, lambda tx: token_state.list_tokens(tx, revoked=revoked), read=True)
    print_rows([token_facts(token) for token in found], as_json=as_json, empty="No token yet.")


@tokens.command("revoke")
@click.argument("token")
@reason_option
@config_option
def revoke_token(config: Path | None, token: str, reason: str) -> None:
    """End an admin token, by its id or its name."""
    record = in_state(config, lambda tx: token_state.revoke_token(tx, token, author(reason)))
    click.echo(f"The token {record.id} ({record.name}) is revoked.")


# --- pause, audit ---------------------------------------------------------------------


@click.command()
@click.option("--team", default=None, help="This team alone.")
@reason_option
@config_option
def pause(config: Path | None, team: str | None, reason: str) -> None:
    """Stop paid calls everywhere within a second; hits go on."""
    in_state(config, lambda tx: organisation_state.pause(tx, author(reason), team))
    click.echo(f"Spending is paused for {team or 'everybody'}; pictures that are stored go on.")


@click.command()
@click.option("--team", default=None, help="This team alone.")
@reason_option
@config_option
def resume(config: Path | None, team: str | None, reason: str) -> None:
    """Let paid calls go on again."""
    in_state(config, lambda tx: organisation_state.resume(tx, author(reason), team))
    click.echo(f"Spending goes on for {team or 'everybody'}.")


@click.command()
@click.option("--since", default=None, help="From this day or time on, such as 2026-11-01.")
@click.option("--subject", default=None, help="organisation, team:NAME, key:ID or token:ID.")
@config_option
@json_option
def audit(config: Path | None, as_json: bool, since: str | None, subject: str | None) -> None:
    """Who changed what, when and why."""
    since_ms = moment(since)
    rows = in_state(
        config,
        lambda tx: audits.list_audit(tx, since_ms=since_ms, subject=subject, limit=100_000),
        read=True,
    )
    told = [audit_facts(row) if as_json else _told(row) for row in rows]
    print_rows(told, as_json=as_json, empty="No change yet.")


def _told(row: AuditRow) -> Facts:
    """A line of the audit for who reads it: what became of each term, instead of two documents."""
    facts = audit_facts(row)
    told = {name: facts[name] for name in ("at", "actor", "action", "subject")}
    return {**told, "change": told_change(row.old, row.new), "reason": row.reason}


def _print_one(facts: Mapping[str, object], as_json: bool) -> None:
    if as_json:
        print_json(facts)
        return
    print_rows([{"": name, "value": value} for name, value in facts.items()])


def _print_secret(facts: Mapping[str, object], secret: str, as_json: bool, what: str) -> None:
    if as_json:
        print_json({"id": facts["id"], "secret": secret, **facts})
        return
    click.echo(f"{facts['id']}\n\n    {secret}\n")
    click.echo(f"This is the {what}'s secret. It is shown this once: keep it now.")


def _span(text: str) -> float:
    try:
        return float(str(seconds_of(text)))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
