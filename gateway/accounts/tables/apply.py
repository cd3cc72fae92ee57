"""`gateway apply`: make the state match a file, in one transaction, and list the changes.

Without `prune` only what the file names is changed. With it, teams and keys that the file doesn't
name end, and settings that it doesn't name become those of a new team or key; the organisation's
only where the file has that table.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from gateway.accounts.rules.account_settings import AccountSettings, change_settings
from gateway.accounts.rules.errors import AccountError, NotFound
from gateway.accounts.rules.organisation_file import DeclaredTeam, GivenSettings, OrganisationFile
from gateway.accounts.tables import keys, organisation, teams
from gateway.accounts.tables.accounts import AccountRecord, Edit, set_values
from gateway.accounts.tables.audit import Author, next_change, shown
from gateway.accounts.tables.keys import KeyRecord, NewKey
from gateway.database.database import Transaction
from gateway.model.caller import Level, Limits

EVERY = 10**9

Action = Literal["create", "change", "archive", "revoke"]


@dataclass(frozen=True, slots=True)
class Step:
    """One change. `subject` is "organisation", "team NAME" or "key TEAM/NAME".

    `old` and `new` hold what differs, by the names of settings.
    """

    action: Action
    subject: str
    old: Mapping[str, object]
    new: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Applied:
    """What was changed, in order, and the keys that were made, with their secrets."""

    steps: tuple[Step, ...]
    made: tuple[NewKey, ...]


class DryRun(Exception):
    """Raised to roll back a dry run, with the steps that it took."""

    def __init__(self, steps: Sequence[Step]) -> None:
        super().__init__("dry run")
        self.steps = tuple(steps)


class PlanChanged(AccountError):
    """The state has changed since the plan was made; nothing was applied."""


async def apply(
    tx: Transaction,
    wanted: OrganisationFile,
    by: Author,
    *,
    defaults: Limits,
    prune: bool = False,
    planned: Sequence[Step] | None = None,
    dry_run: bool = False,
) -> Applied:
    """Make the state match. `defaults` are the limits that a new team gets.

    Raises AccountError, whose message begins with the table that it is about; PlanChanged
    where something else would be done than what was `planned`; DryRun to undo a dry run.
    """
    await next_change(tx)
    work = _Work(tx, by, AccountSettings(limits=defaults), prune)
    # A team may rely on the organisation's budget: it is set first, and removed last.
    last = wanted.organisation is not None and wanted.organisation.get("budget_usd") is None
    if not last:
        await work.match_organisation(wanted.organisation)
    if prune:
        await work.archive_others(wanted.teams)
    for name, team in wanted.teams.items():
        await work.match_team(name, team)
    if last:
        await work.match_organisation(wanted.organisation)
    if planned is not None and tuple(planned) != tuple(work.steps):
        raise PlanChanged("The state has changed since the plan was made: run the command again.")
    if dry_run:
        raise DryRun(work.steps)
    return Applied(tuple(work.steps), tuple(work.made))


class _Work:
    """One run, with its steps so far."""

    def __init__(self, tx: Transaction, by: Author, new_team: AccountSettings, prune: bool) -> None:
        self._tx, self._by, self._new_team, self._prune = tx, by, new_team, prune
        self.steps: list[Step] = []
        self.made: list[NewKey] = []

    async def match_organisation(self, given: GivenSettings | None) -> None:
        if given is None:
            return
        with _at("organisation"):
            old = await organisation.show_organisation(self._tx)
            edit = self._edit("organisation", AccountSettings(), given)
            new = await organisation.update_organisation(self._tx, edit, self._by)
        self._add_change("organisation", old, new)

    async def archive_others(self, named: Mapping[str, object]) -> None:
        for team in await teams.list_teams(self._tx, limit=EVERY):
            if team.name not in named:
                present = await keys.list_keys(self._tx, team=team.name, limit=EVERY)
                await teams.archive_team(self._tx, team.name, self._by)
                ended = {"keys": sorted(key.name for key in present)}
                self.steps.append(Step("archive", f"team {team.name}", {}, ended))

    async def match_team(self, name: str, wanted: DeclaredTeam) -> None:
        with _at(f"teams.{name}"):
            old = await self._team(name)
            edit = self._edit("team", self._new_team, wanted.settings)
            if old is None:
                made = await teams.create_team(self._tx, name, edit(self._new_team), self._by)
                self.steps.append(Step("create", f"team {name}", {}, _set_facts(made)))
            else:
                new = await teams.update_team(self._tx, name, edit, self._by)
                self._add_change(f"team {name}", old, new)
        await self._match_keys(name, wanted.keys)

    async def _match_keys(self, team: str, wanted: Mapping[str, GivenSettings]) -> None:
        found = await keys.list_keys(self._tx, team=team, limit=EVERY)
        present = {key.name: key for key in found}
        for name in sorted(present.keys() - wanted.keys() if self._prune else ()):
            await keys.revoke_key(self._tx, present[name].id, self._by)
            self.steps.append(Step("revoke", f"key {team}/{name}", {}, {}))
        for name, given in wanted.items():
            with _at(f"teams.{team}.keys.{name}"):
                await self._match_key(team, name, present.get(name), given)

    async def _match_key(
        self, team: str, name: str, old: KeyRecord | None, given: GivenSettings
    ) -> None:
        edit = self._edit("key", AccountSettings(), given)
        subject = f"key {team}/{name}"
        if old is None:
            made = await keys.create_key(self._tx, team, name, edit(AccountSettings()), self._by)
            self.made.append(made)
            self.steps.append(Step("create", subject, {}, _set_facts(made.key.account)))
        else:
            new = await keys.update_key(self._tx, old.id, edit, self._by)
            self._add_change(subject, old.account, new.account)

    async def _team(self, name: str) -> AccountRecord | None:
        """The team of that name; None where there is none, or only an archived one."""
        try:
            found = await teams.show_team(self._tx, name)
        except NotFound:
            return None
        return found if found.ended_ms is None else None

    def _edit(self, level: Level, fresh: AccountSettings, given: GivenSettings) -> Edit:
        """The change that gives an account the settings of the file."""
        return lambda settings: change_settings(fresh if self._prune else settings, level, given)

    def _add_change(self, subject: str, old: AccountRecord, new: AccountRecord) -> None:
        before, after = old.facts(), new.facts()
        names = [name for name in after if before[name] != after[name]]
        if names:
            was, now = ({n: shown(n, facts[n]) for n in names} for facts in (before, after))
            self.steps.append(Step("change", subject, was, now))


def _set_facts(record: AccountRecord) -> dict[str, object]:
    """The settings of a new account."""
    return {name: shown(name, value) for name, value in set_values(record.facts()).items()}


@contextlib.contextmanager
def _at(place: str) -> Iterator[None]:
    """Prefix errors with the table that they are about."""
    try:
        yield
    except AccountError as error:
        raise type(error)(f"[{place}] {error.message}", error.param) from None
