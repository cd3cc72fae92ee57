"""The rows of the gallery, on both engines."""

from __future__ import annotations

from dataclasses import replace

from gateway.database.database import Database
from gateway.gallery.tables import gallery
from gateway.gallery.tables.gallery import GalleryRow, Order, Viewer

ROW = GalleryRow("f1", "design", "k1", "ada", "m", "req_1", 10_000_000, 1_000, 9_000, "", "")
ROWS = [
    ROW,
    replace(ROW, fingerprint="f2", created_ms=2_000, cost_nanos=None),
    replace(ROW, fingerprint="f3", team="press", key_id="k2", created_ms=3_000),
]


async def shown(database: Database, viewer: Viewer, order: Order = "newest") -> list[str]:
    rows = await database.read(
        lambda tx: gallery.listed(tx, viewer, 5_000, order, offset=0, limit=10)
    )
    return [row.fingerprint for row in rows]


async def test_a_viewer_sees_a_team_or_a_key_or_all(database: Database) -> None:
    await database.write(lambda tx: gallery.put(tx, ROWS))

    assert await shown(database, Viewer()) == ["f3", "f2", "f1"]
    assert await shown(database, Viewer("design")) == ["f2", "f1"]
    assert await shown(database, Viewer("design", "k2")) == []
    find = gallery.find
    assert await database.read(lambda tx: find(tx, "f3", Viewer("design"), 5_000)) is None
    assert await database.read(lambda tx: find(tx, "f3", Viewer("press"), 9_000)) is None


async def test_uses_are_counted_and_order_the_gallery(database: Database) -> None:
    await database.write(lambda tx: gallery.put(tx, ROWS))
    for _ in range(2):
        await database.write(lambda tx: gallery.count_uses(tx, {"f1": (2, 7), "unknown": (1, 1)}))

    assert await shown(database, Viewer(), "most used") == ["f1", "f3", "f2"]
    found = await database.read(lambda tx: gallery.find(tx, "f1", Viewer(), 0))
    assert found is not None
    assert (found.uses, found.saved_nanos, found.key_name) == (4, 14, "k1")


async def test_a_purge_leaves_what_was_made_after_it(database: Database) -> None:
    await database.write(lambda tx: gallery.put(tx, ROWS))
    await database.write(lambda tx: gallery.drop(tx, {"f1": 1_001, "f2": 2_000}))

    assert await shown(database, Viewer("design")) == ["f2"]


async def test_what_a_forgotten_persons_requests_bought_is_deleted(database: Database) -> None:
    rows = [ROW, replace(ROWS[1], request_id="req_2")]
    await database.write(lambda tx: gallery.put(tx, rows))
    await database.write(lambda tx: gallery.forget(tx, {"req_1", "req_9"}))

    assert await shown(database, Viewer()) == ["f2"]


async def test_expired_rows_are_swept_and_all_are_cleared(database: Database) -> None:
    await database.write(lambda tx: gallery.put(tx, [ROW, replace(ROWS[1], expires_ms=6_000)]))
    await database.write(lambda tx: gallery.sweep(tx, 6_000))
    assert await shown(database, Viewer()) == ["f1"]

    await database.write(gallery.clear)
    assert await shown(database, Viewer()) == []
