"""The organisation, its teams, and the pause of everybody's or a team's spending."""

from __future__ import annotations

from gateway.admin.access import check_own
from gateway.admin.asking import Asked, check_names
from gateway.admin.paging import listing, page_of
from gateway.showing import Facts, team_facts
from gateway.state import organisation, teams
from gateway.state.database import Transaction
from gateway.state.records import AccountRecord
from gateway.state.terms import Terms, amended


async def show_organisation(tx: Transaction, _: Asked) -> Facts:
    return _organisation(await organisation.show_organisation(tx))


async def update_organisation(tx: Transaction, asked: Asked) -> Facts:
    def edit(terms: Terms) -> Terms:
        return amended(terms, "organisation", asked.document)

    return _organisation(await organisation.update_organisation(tx, edit, asked.by))


async def list_teams(tx: Transaction, asked: Asked) -> Facts:
    page = page_of(asked.query)
    found = await teams.list_teams(
        tx,
        archived=asked.flag("archived"),
        after=f"team:{page.after}" if page.after else "",
        limit=page.fetch,
    )
    return listing(found, page, _team, lambda team: team.name)


async def create_team(tx: Transaction, asked: Asked) -> Facts:
    name = asked.text("name")
    defaults = Terms(limits=asked.settings.new_team.limits())
    terms = amended(defaults, "team", asked.rest("name"))
    return _team(await teams.create_team(tx, name, terms, asked.by))


async def show_team(tx: Transaction, asked: Asked) -> Facts:
    check_own(asked.confined_to, asked.path["name"])
    return _team(await teams.show_team(tx, asked.path["name"]))


async def update_team(tx: Transaction, asked: Asked) -> Facts:
    def edit(terms: Terms) -> Terms:
        return amended(terms, "team", asked.document)

    return _team(await teams.update_team(tx, asked.path["name"], edit, asked.by))


async def archive_team(tx: Transaction, asked: Asked) -> Facts:
    check_names(asked.document, (), "field")
    return _team(await teams.archive_team(tx, asked.path["name"], asked.by))


async def pause(tx: Transaction, asked: Asked) -> Facts:
    return _either(await organisation.pause(tx, asked.by, _team_named(asked)))


async def resume(tx: Transaction, asked: Asked) -> Facts:
    return _either(await organisation.resume(tx, asked.by, _team_named(asked)))


def _team_named(asked: Asked) -> str | None:
    """The team that a pause is about; None where it is about everybody."""
    check_names(asked.document, ("team",), "field")
    return asked.text("team") if asked.document.get("team") is not None else None


def _either(record: AccountRecord) -> Facts:
    return _team(record) if record.level == "team" else _organisation(record)


def _organisation(record: AccountRecord) -> Facts:
    return {"object": "organisation", **record.facts()}


def _team(record: AccountRecord) -> Facts:
    return {"object": "team", **team_facts(record)}
