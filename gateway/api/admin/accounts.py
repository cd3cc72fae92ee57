"""The organisation, its teams, and the pause of everybody's or a team's spending."""

from __future__ import annotations

from gateway.accounts.rules.account_settings import AccountSettings, change_settings
from gateway.accounts.tables import organisation, teams
from gateway.accounts.tables.account_rows import AccountRecord
from gateway.api.admin.pagination import listing, page_of
from gateway.api.admin.permissions import check_own
from gateway.api.admin.request_input import AdminRequest, check_names
from gateway.database.database import Transaction
from gateway.queries.serializers import Facts, team_facts, without_secrets


async def show_organisation(tx: Transaction, asked: AdminRequest) -> Facts:
    return _organisation(asked, await organisation.show_organisation(tx))


async def update_organisation(tx: Transaction, asked: AdminRequest) -> Facts:
    def edit(terms: AccountSettings) -> AccountSettings:
        return change_settings(terms, "organisation", asked.document)

    return _organisation(asked, await organisation.update_organisation(tx, edit, asked.by))


async def list_teams(tx: Transaction, asked: AdminRequest) -> Facts:
    page = page_of(asked.query)
    found = await teams.list_teams(
        tx,
        archived=asked.flag("archived"),
        after=f"team:{page.after}" if page.after else "",
        limit=page.fetch,
    )
    return listing(found, page, lambda team: _team(asked, team), lambda team: team.name)


async def create_team(tx: Transaction, asked: AdminRequest) -> Facts:
    name = asked.text("name")
    defaults = AccountSettings(limits=asked.settings.new_team)
    terms = change_settings(defaults, "team", asked.rest("name"))
    return _team(asked, await teams.create_team(tx, name, terms, asked.by))


async def show_team(tx: Transaction, asked: AdminRequest) -> Facts:
    check_own(asked.confined_to, asked.path["name"])
    return _team(asked, await teams.show_team(tx, asked.path["name"]))


async def update_team(tx: Transaction, asked: AdminRequest) -> Facts:
    def edit(terms: AccountSettings) -> AccountSettings:
        return change_settings(terms, "team", asked.document)

    return _team(asked, await teams.update_team(tx, asked.path["name"], edit, asked.by))


async def archive_team(tx: Transaction, asked: AdminRequest) -> Facts:
    check_names(asked.document, (), "field")
    return _team(asked, await teams.archive_team(tx, asked.path["name"], asked.by))


async def pause(tx: Transaction, asked: AdminRequest) -> Facts:
    return _either(asked, await organisation.pause(tx, asked.by, _team_named(asked)))


async def resume(tx: Transaction, asked: AdminRequest) -> Facts:
    return _either(asked, await organisation.resume(tx, asked.by, _team_named(asked)))


def _team_named(asked: AdminRequest) -> str | None:
    """The team that a pause is about; None where it is about everybody."""
    check_names(asked.document, ("team",), "field")
    return asked.text("team") if asked.document.get("team") is not None else None


def _either(asked: AdminRequest, record: AccountRecord) -> Facts:
    return _team(asked, record) if record.level == "team" else _organisation(asked, record)


def _organisation(asked: AdminRequest, record: AccountRecord) -> Facts:
    return {"object": "organisation", **_visible(asked, record.facts())}


def _team(asked: AdminRequest, record: AccountRecord) -> Facts:
    return {"object": "team", **_visible(asked, team_facts(record))}


def _visible(asked: AdminRequest, facts: Facts) -> Facts:
    return facts if asked.sees_secrets else without_secrets(facts)
