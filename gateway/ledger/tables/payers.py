"""Who pays for what the upstream has billed: whoever is known to have asked for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateway.database.database import Transaction
from gateway.database.multirow import placeholders, portions
from gateway.ledger.rules.statement_lines import StatementLine

UNATTRIBUTED = "(unattributed)"
"""The team and the key of what was billed and nobody here is known to have asked for."""

_ATTRIBUTES = "team, key_id, model, owner, cost_centre, tags"


@dataclass(frozen=True, slots=True)
class Payer:
    """Who asked for a call, as their request says."""

    team: str = UNATTRIBUTED
    key_id: str = UNATTRIBUTED
    model: str = ""
    owner: str = ""
    cost_centre: str = ""
    tags: str = "{}"


NOBODY = Payer()


@dataclass(frozen=True, slots=True)
class Payers:
    """Who pays, by our request ids and by the upstream's."""

    found: Mapping[tuple[str, str], Payer]

    def of(self, line: StatementLine) -> Payer:
        """Who asked for what this line is about, as far as anybody knows."""
        by_upstream = self.found.get(("upstream_request_id", line.request_id), NOBODY)
        return self.found.get(("request_id", line.client_request_id), by_upstream)


async def payers(tx: Transaction, lines: Iterable[StatementLine]) -> Payers:
    """Who asked for what these lines are about: by the ledger, else by the requests kept."""
    lines = list(lines)
    ours = [line.client_request_id for line in lines]
    found: dict[tuple[str, str], Payer] = {}
    for table, column, names in (
        ("ledger", "upstream_request_id", [line.request_id for line in lines]),
        ("usage_rows", "request_id", ours),
        ("ledger", "request_id", ours),
    ):  # an empty id is nobody's, and the index of the upstream's leaves it out
        for ids in portions(names):
            rows = await tx.fetch(
                f"SELECT {column} AS name, {_ATTRIBUTES} FROM {table} "
                f"WHERE {column} <> '' AND {column} IN {placeholders(len(ids))}",
                *ids,
            )
            for row in rows:
                if row["team"] != UNATTRIBUTED:
                    facts = {name: row[name] for name in row if name != "name"}
                    found[column, row["name"]] = Payer(**facts)
    return Payers(found)
