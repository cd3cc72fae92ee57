"""What a file says that the organisation, its teams and their keys should be.

Its tables are `[organisation]`, `[teams.NAME]` and `[teams.NAME.keys.KEYNAME]`, their names
those of `terms`; the word "none" takes a term away. Values are looked at when they are applied.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gateway.accounts.rules.errors import BadValue
from gateway.accounts.rules.terms import NAMES
from gateway.model.caller import Level

NONE = "none"
KEYS = "keys"

GivenTerms = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class DeclaredTeam:
    """A team's terms by their names, and its keys' by the keys' names."""

    terms: GivenTerms
    keys: Mapping[str, GivenTerms]


@dataclass(frozen=True, slots=True)
class Declared:
    """A file's content; `organisation` is None where the file says nothing of it."""

    organisation: GivenTerms | None
    teams: Mapping[str, DeclaredTeam]


def declared(tables: Mapping[str, object]) -> Declared:
    """The content of a TOML file, read with `parse_float=Decimal`.

    Raises BadValue with a line for every table and every name that can't be.
    """
    reading = _Reading()
    found = reading.file(tables)
    if reading.faults:
        raise BadValue("\n".join(reading.faults))
    return found


class _Reading:
    """Reads on after a fault, so that all of them are told at once."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def file(self, tables: Mapping[str, object]) -> Declared:
        self._check_names("the file", tables, ("organisation", "teams"), "table")
        organisation = None
        if "organisation" in tables:
            organisation = self._terms("organisation", tables["organisation"], "organisation")
        teams = {
            name: self._team(f"teams.{name}", table)
            for name, table in self._table("teams", tables.get("teams", {})).items()
        }
        return Declared(organisation, MappingProxyType(teams))

    def _team(self, place: str, value: object) -> DeclaredTeam:
        table = dict(self._table(place, value))
        keys = self._table(f"{place}.{KEYS}", table.pop(KEYS, {}))
        return DeclaredTeam(
            self._terms(place, table, "team"),
            {name: self._terms(f"{place}.{KEYS}.{name}", each, "key")
             for name, each in keys.items()},
        )  # fmt: skip

    def _terms(self, place: str, value: object, level: Level) -> GivenTerms:
        table = self._table(place, value)
        more = (KEYS,) if level == "team" else ()
        self._check_names(f"[{place}]", table, (*NAMES[level], *more), "term")
        return {name: None if _is_none(each) else each for name, each in table.items()}

    def _table(self, place: str, value: object) -> Mapping[str, object]:
        if isinstance(value, Mapping):
            return value
        self.faults.append(f"{place} is a table: write it as [{place}].")
        return {}

    def _check_names(
        self, place: str, given: Iterable[str], known: tuple[str, ...], what: str
    ) -> None:
        for name in given:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}."
                self.faults.append(f"{place}: {name!r} is no {what} here; {hint}")


def _is_none(value: object) -> bool:
    return isinstance(value, str) and value.lower() == NONE
