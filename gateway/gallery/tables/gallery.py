"""The rows of the gallery: one for each stored result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Literal

from gateway.database.database import Transaction
from gateway.database.multirow import fetch_named, insert_rows

MOST_VERSIONS = 50
Order = Literal["newest", "most used"]
_ORDERS: Mapping[Order, str] = {
    "newest": "g.created_ms DESC, g.fingerprint",
    "most used": "g.uses DESC, g.created_ms DESC, g.fingerprint",
}


@dataclass(frozen=True, slots=True)
class GalleryRow:
    """A stored result: who bought it, at what cost, and until when it is stored."""

    fingerprint: str
    team: str
    key_id: str
    end_user: str
    model: str
    request_id: str
    cost_nanos: int | None
    created_ms: int
    expires_ms: int
    family: str
    variant: str


@dataclass(frozen=True, slots=True)
class ShownResult(GalleryRow):
    """A row with the name of its key, and what it saved by how many uses."""

    key_name: str
    uses: int
    saved_nanos: int


@dataclass(frozen=True, slots=True)
class Viewer:
    """Whose results may be seen: of all teams, of one, or of one key; "" is no restriction."""

    team: str = ""
    key_id: str = ""


_COLUMNS = ", ".join(each.name for each in fields(GalleryRow))
_PUT = f"INSERT INTO gallery ({_COLUMNS})"
_REPLACE = "ON CONFLICT (fingerprint) DO UPDATE SET " + ", ".join(
    f"{each.name} = excluded.{each.name}" for each in fields(GalleryRow)[1:]
)
_SELECT = (
    "SELECT g.*, COALESCE(a.name, g.key_id) AS key_name FROM gallery g "
    "LEFT JOIN accounts a ON a.id = 'key:' || g.key_id "
    "WHERE ($1 = '' OR g.team = $1) AND ($2 = '' OR g.key_id = $2) AND g.expires_ms > $3 "
)


async def versions(
    tx: Transaction, row: ShownResult, viewer: Viewer, now_ms: int
) -> list[ShownResult]:
    """The versions of the same edit in the same team, the first one first."""
    sql = f"{_SELECT} AND g.family = $4 AND g.team = $5 ORDER BY g.created_ms LIMIT {MOST_VERSIONS}"
    rows = await tx.fetch(sql, viewer.team, viewer.key_id, now_ms, row.family, row.team)
    return [ShownResult(**found) for found in rows]


async def put(tx: Transaction, rows: Sequence[GalleryRow]) -> None:
    """Add results, in place of those of the same fingerprints."""
    newest = {row.fingerprint: row for row in rows}
    await insert_rows(tx, _PUT, [astuple(row) for row in newest.values()], _REPLACE)


async def count_uses(tx: Transaction, uses: Mapping[str, tuple[int, int]]) -> None:
    """Add to the number of uses of results, and to what they saved."""
    for fingerprint, (number, saved_nanos) in sorted(uses.items()):
        await tx.fetch(
            "UPDATE gallery SET uses = uses + $2, saved_nanos = saved_nanos + $3 "
            "WHERE fingerprint = $1",
            *(fingerprint, number, saved_nanos),
        )


async def listed(
    tx: Transaction, viewer: Viewer, now_ms: int, order: Order, *, offset: int, limit: int
) -> list[ShownResult]:
    """What the viewer may see."""
    sql = f"{_SELECT} ORDER BY {_ORDERS[order]} LIMIT $4 OFFSET $5"
    rows = await tx.fetch(sql, viewer.team, viewer.key_id, now_ms, limit, offset)
    return [ShownResult(**row) for row in rows]


async def find(
    tx: Transaction, fingerprint: str, viewer: Viewer, now_ms: int
) -> ShownResult | None:
    """One result, if the viewer may see it."""
    sql = f"{_SELECT} AND g.fingerprint = $4"
    rows = await tx.fetch(sql, viewer.team, viewer.key_id, now_ms, fingerprint)
    return ShownResult(**rows[0]) if rows else None


async def drop(tx: Transaction, gone: Mapping[str, int]) -> None:
    """Delete the rows of results that were purged: those made before the given times."""
    for fingerprint, before_ms in sorted(gone.items()):
        await tx.fetch(
            "DELETE FROM gallery WHERE fingerprint = $1 AND created_ms < $2",
            *(fingerprint, before_ms),
        )


async def forget(tx: Transaction, request_ids: Iterable[str]) -> None:
    """Delete the rows of what these requests bought, also where the result is gone already."""
    sql = "DELETE FROM gallery WHERE request_id IN {names} RETURNING fingerprint"
    await fetch_named(tx, sql, request_ids)


async def sweep(tx: Transaction, now_ms: int) -> None:
    """Delete the rows of results that have expired."""
    await tx.fetch("DELETE FROM gallery WHERE expires_ms <= $1", now_ms)


async def clear(tx: Transaction) -> None:
    """Delete every row."""
    await tx.fetch("DELETE FROM gallery")
