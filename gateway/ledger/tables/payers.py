"""Payers: the teams and keys that billed calls are charged to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from gateway.database.database import Transaction
from gateway.database.multirow import fetch_named
from gateway.ledger.rules.payer import NOBODY, UNATTRIBUTED, Payer
from gateway.ledger.rules.statement_lines import StatementLine

_COLUMNS = tuple(column.name for column in fields(Payer))
_ATTRIBUTES = ", ".join(_COLUMNS)


@dataclass(frozen=True, slots=True)
class Payers:
    """Payers by name of an id's column and the id: ours, or the upstream's."""

    found: Mapping[tuple[str, str], Payer]

    def of(self, line: StatementLine) -> Payer:
        """The payer of this line, or NOBODY."""
        by_upstream = self.found.get(("upstream_request_id", line.request_id), NOBODY)
        return self.found.get(("request_id", line.client_request_id), by_upstream)


async def payers(tx: Transaction, lines: Iterable[StatementLine]) -> Payers:
    """The payers of these lines: from the ledger, else from the requests kept."""
    lines = list(lines)
    ours = [line.client_request_id for line in lines]
    found: dict[tuple[str, str], Payer] = {}
    for table, column, names in (
        ("ledger", "upstream_request_id", [line.request_id for line in lines]),
        ("usage_rows", "request_id", ours),
        ("ledger", "request_id", ours),
    ):  # the index of upstream ids leaves out empty ones: the query must do so too
        sql = (
            f"SELECT {column} AS name, {_ATTRIBUTES} FROM {table} "
            f"WHERE {column} <> '' AND {column} IN {{names}}"
        )
        for row in await fetch_named(tx, sql, names):
            if row["team"] != UNATTRIBUTED:
                found[column, row["name"]] = Payer(**{each: row[each] for each in _COLUMNS})
    return Payers(found)
