"""A `gateway apply` file: the organisation, its teams and their keys.

Its tables are `[organisation]`, `[teams.NAME]` and `[teams.NAME.keys.KEYNAME]`; their names are
those of `account_settings`, and the word "none" removes a setting. Values are checked when the
file is applied.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gateway.accounts.rules.account_settings import fields_of, unknown_setting
from gateway.accounts.rules.errors import BadValue
from gateway.model.caller import Level
from gateway.model.suggestions import did_you_mean

NONE = "none"
_TABLES = ("organisation", "teams")

GivenSettings = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class DeclaredTeam:
    """A team's settings by name, and the settings of its keys by the keys' names."""

    settings: GivenSettings
    keys: Mapping[str, GivenSettings]


@dataclass(frozen=True, slots=True)
class OrganisationFile:
    """A file's content; `organisation` is None where the file has no such table."""

    organisation: GivenSettings | None
    teams: Mapping[str, DeclaredTeam]


def parse_organisation_file(tables: Mapping[str, object]) -> OrganisationFile:
    """The content of a TOML file, read with `parse_float=Decimal`.

    Raises BadValue with one line for every unknown table and name.
    """
    parser = _Parser()
    found = parser.parse(tables)
    if parser.errors:
        raise BadValue("\n".join(parser.errors))
    return found


class _Parser:
    """Collects errors, so that one run reports all of them."""

    def __init__(self) -> None:
        self.errors: list[str] = []

    def parse(self, tables: Mapping[str, object]) -> OrganisationFile:
        for name in tables:
            if name not in _TABLES:
                hint = did_you_mean(name, _TABLES)
                self.errors.append(f"The file has no table {name!r}. {hint}")
        organisation = None
        if "organisation" in tables:
            organisation = self._settings("organisation", tables["organisation"], "organisation")
        teams = {
            name: self._team(f"teams.{name}", table)
            for name, table in self._table("teams", tables.get("teams", {})).items()
        }
        return OrganisationFile(organisation, MappingProxyType(teams))

    def _team(self, place: str, value: object) -> DeclaredTeam:
        table = dict(self._table(place, value))
        keys = self._table(f"{place}.keys", table.pop("keys", {}))
        settings = self._settings(place, table, "team")
        return DeclaredTeam(
            settings, {n: self._settings(f"{place}.keys.{n}", k, "key") for n, k in keys.items()}
        )

    def _settings(self, place: str, value: object, level: Level) -> GivenSettings:
        table, known = self._table(place, value), fields_of(level)
        more = ("keys",) if level == "team" else ()
        for name in table:
            if name not in known:
                self.errors.append(f"[{place}] {unknown_setting(name, level, *more)}")
        return {name: None if _is_none(each) else each for name, each in table.items()}

    def _table(self, place: str, value: object) -> Mapping[str, object]:
        if isinstance(value, Mapping):
            return value
        self.errors.append(f"{place} is a table: write it as [{place}].")
        return {}


def _is_none(value: object) -> bool:
    return isinstance(value, str) and value.lower() == NONE
