"""Statistics, purges and checks on a real disk, in a real bucket, and in the state."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.accounts.rules.account_settings import AccountSettings
from gateway.accounts.rules.errors import NotFound
from gateway.accounts.tables import audit, keys, teams
from gateway.accounts.tables.audit import AuditRow, Author
from gateway.cache.disk import DiskStore
from gateway.cache.invalidation import Invalidation
from gateway.cache.object_store import BucketStore
from gateway.cache.result_store import ResultStore, StoreUnavailable
from gateway.cache.rules.purge_selection import Selection
from gateway.cache.tables.invalidation import News, news_since
from gateway.coalescing.rules.lease import FlightFailure, Lease
from gateway.coalescing.tables import leases
from gateway.database.database import Database, StateUnavailable, Transaction
from gateway.database.migrate import migrate
from gateway.database.sqlite import SqliteDatabase
from gateway.ledger.tables import usage
from gateway.model.outcome import Outcome
from gateway.model.units import time_text
from gateway.queries.cache_admin import CacheAdmin, SelectedEntries
from gateway.settings import Settings, load
from tests.support.buckets import make_bucket, s3_server, url_of
from tests.support.results import DAY_MS, LARGE, NOW_MS, SMALL, Clock, entry_of

MAX_BYTES = 50_000_000
TODAY = "2027-01-15"
BY = Author("cli:ann", NOW_MS + 5, "told to")


def ignored(done: int, total: int) -> None:
    """Progress that nobody looks at."""


@pytest.fixture
def settings() -> Settings:
    return load(Path("/dev/null"), environment={})


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    engine = SqliteDatabase(tmp_path / "gateway.db")
    await migrate(engine)
    yield engine
    await engine.close()


@pytest.fixture
async def results(tmp_path: Path) -> AsyncIterator[ResultStore]:
    store = DiskStore(tmp_path / "cache", MAX_BYTES, now_ms=Clock())
    yield store
    await store.close()


@pytest.fixture
def cache(settings: Settings, database: Database, results: ResultStore) -> CacheAdmin:
    return CacheAdmin(settings, database, results)


async def put(results: ResultStore, key: str, body: bytes = LARGE, **facts: Any) -> None:
    assert await results.put(entry_of(body, key, **facts), body)


async def held(results: ResultStore) -> set[str]:
    return {entry.key async for entry in results.entries()}


async def purge(cache: CacheAdmin, selection: Selection) -> int:
    return await cache.purge(await cache.select(selection, ignored), BY, ignored)


async def audited(database: Database) -> list[AuditRow]:
    return list(await database.read(audit.list_audit))


async def announced(database: Database) -> dict[str, int]:
    async def news(tx: Any) -> News:
        return await news_since(tx, 0)

    return {each.key: each.at_ms for each in (await database.read(news)).replaced}


# --- purge ----------------------------------------------------------------------------


async def test_a_purge_takes_what_fits_every_filter_and_leaves_the_rest(
    cache: CacheAdmin, results: ResultStore
) -> None:
    await put(results, "v1-1", team="design", model="m1")
    await put(results, "v1-2", team="design", model="m2")
    await put(results, "v1-3", team="sales", model="m1")

    assert await purge(cache, Selection(team="design", model="m1")) == 1
    assert await held(results) == {"v1-2", "v1-3"}


async def test_what_is_selected_is_counted_shown_in_part_and_left(
    cache: CacheAdmin, results: ResultStore
) -> None:
    for number in range(30):
        await put(results, f"v1-{number:02}", SMALL, team="design" if number else "sales")
    steps: list[tuple[int, int]] = []

    selected = await cache.select(
        Selection(team="design"), lambda done, total: steps.append((done, total))
    )
    assert (selected.entries, selected.bytes) == (29, 29 * len(SMALL))
    assert [entry.key for entry in selected.first] == [f"v1-{n:02}" for n in range(1, 21)]
    assert steps == [(number, 30) for number in range(1, 31)]
    assert len(await held(results)) == 30


async def test_a_purge_is_in_the_audit_with_who_what_and_how_much(
    cache: CacheAdmin, results: ResultStore, database: Database
) -> None:
    await put(results, "v1-1", team="design")
    await put(results, "v1-2", team="sales")
    await purge(cache, Selection(team="design", made_before_ms=NOW_MS + 1000))

    (row,) = await audited(database)
    assert (row.actor, row.action, row.subject) == ("cli:ann", "cache.purge", "cache")
    assert row.reason == "told to"
    assert row.new == {
        "team": "design",
        "made_before": "2027-01-15T08:00:01Z",
        "entries": 1,
        "bytes": len(LARGE),
    }


async def test_nothing_goes_where_the_audit_can_not_be_written(
    cache: CacheAdmin, results: ResultStore, database: Database, tmp_path: Path
) -> None:
    await put(results, "v1-1")
    with sqlite3.connect(tmp_path / "gateway.db") as state:
        state.execute("ALTER TABLE audit RENAME TO elsewhere")

    with pytest.raises(StateUnavailable):
        await purge(cache, Selection())
    assert await held(results) == {"v1-1"}


async def test_every_purged_result_is_announced_and_no_newer_one_is_meant(
    cache: CacheAdmin, results: ResultStore, database: Database
) -> None:
    await put(results, "v1-1", created_ms=NOW_MS)
    await put(results, "v1-2", created_ms=NOW_MS - DAY_MS)
    await put(results, "v1-3", team="sales")
    await purge(cache, Selection(team="design"))

    assert await announced(database) == {"v1-1": NOW_MS + 1, "v1-2": NOW_MS - DAY_MS + 1}


async def test_nobody_is_left_waiting_for_a_picture_that_was_purged_once_it_had_landed(
    cache: CacheAdmin, results: ResultStore, database: Database
) -> None:
    def landed(key: str, started_ms: int, **facts: Any) -> Lease:
        return Lease(
            key, f"res-{key}", "own-1", "req-1", started_ms, NOW_MS + 60_000,
            **{"ended_ms": NOW_MS, **facts},
        )  # fmt: skip

    gone, fresh = landed("v1-1", NOW_MS - 9), landed("fresh:v1-2", NOW_MS - 9)
    kept = [
        landed("v1-3", NOW_MS + 1),  # made after what was purged
        landed("v1-4", NOW_MS - 9),  # not purged
        landed("v1-5", NOW_MS - 9, ended_ms=None),  # in the air
        landed("v1-6", NOW_MS - 9, failure=FlightFailure("upstream_failed", 502, "it broke")),
    ]

    async def fly(tx: Transaction) -> None:
        for lease in (gone, fresh, *kept):
            await leases.claim(tx, lease)
            if lease.ended_ms:
                await leases.end(tx, lease)

    await database.write(fly)
    for number in (1, 2, 3, 5, 6):
        await put(results, f"v1-{number}")
    await put(results, "v1-4", team="sales")

    await purge(cache, Selection(team="design"))
    keys_of = [lease.key for lease in (gone, fresh, *kept)]
    left = await database.read(lambda tx: leases.read(tx, keys_of))
    assert {lease.key for lease in left} == {lease.key for lease in kept}


@pytest.mark.parametrize(
    "narrowing",
    [
        {"team": "red"},
        {"key_id": "key_of_red"},
        {"model": "another"},
        {"made_before_ms": NOW_MS},
        {"picture": "0" * 64},
    ],
)
async def test_a_fingerprint_that_the_rest_of_a_purge_does_not_fit_is_left_alone(
    cache: CacheAdmin, results: ResultStore, database: Database, narrowing: dict[str, Any]
) -> None:
    lease = Lease("v1-1", "res-1", "own-1", "req-1", NOW_MS - 9, NOW_MS + 60_000, ended_ms=NOW_MS)

    async def fly(tx: Transaction) -> None:
        await leases.claim(tx, lease)
        await leases.end(tx, lease)

    await database.write(fly)
    await put(results, "v1-1", team="blue")

    assert await purge(cache, Selection(fingerprint="v1-1", **narrowing)) == 0
    assert await held(results) == {"v1-1"}
    assert await announced(database) == {}, "no other machine drops its copy"
    assert await database.read(lambda tx: leases.read(tx, ["v1-1"])), "nor is its flight undone"


async def test_a_fingerprint_and_its_team_are_announced_as_what_was_found(
    cache: CacheAdmin, results: ResultStore, database: Database
) -> None:
    await put(results, "v1-1", team="blue", created_ms=NOW_MS)

    assert await purge(cache, Selection(fingerprint="v1-1", team="blue")) == 1
    assert await announced(database) == {"v1-1": NOW_MS + 1}


async def test_thousands_are_announced_in_portions(
    cache: CacheAdmin, results: ResultStore, database: Database
) -> None:
    for number in range(1200):
        await put(results, f"v1-{number:04}", SMALL)

    assert await purge(cache, Selection()) == 1200
    assert len(await announced(database)) == 1200


async def test_a_purge_that_breaks_off_is_in_the_audit(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    results = DiskStore(tmp_path / "file" / "cache", MAX_BYTES)
    cache = CacheAdmin(settings, database, results)
    with pytest.raises(StoreUnavailable):
        await cache.purge(SelectedEntries(Selection(), 3, 300, ()), BY, ignored)
    await results.close()

    (row,) = await audited(database)
    assert row.new == {"all": True, "entries": 3, "bytes": 300}


async def test_a_key_is_named_by_its_id_or_by_its_team_and_name(
    cache: CacheAdmin, database: Database
) -> None:
    by = Author("test", NOW_MS)
    await database.write(
        lambda tx: teams.create_team(tx, "design", AccountSettings(unlimited=True), by)
    )
    made = await database.write(
        lambda tx: keys.create_key(tx, "design", "figma", AccountSettings(), by)
    )

    assert await cache.key_id("design/figma") == made.key.id
    assert await cache.key_id("key_of_long_ago") == "key_of_long_ago"
    with pytest.raises(NotFound):
        await cache.key_id("design/nothing")


# --- a bucket with two machines -------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture
def bucket_url(server: str) -> str:
    return url_of(server, make_bucket(server))


@pytest.fixture
async def machines(bucket_url: str, tmp_path: Path) -> AsyncIterator[list[BucketStore]]:
    stores = [
        BucketStore(bucket_url, DiskStore(tmp_path / name, MAX_BYTES, now_ms=Clock()), 10, Clock())
        for name in ("here", "there")
    ]
    yield stores
    for store in stores:
        await store.close()


def listening(database: Database, results: ResultStore) -> Invalidation:
    def failure(part: str, error: BaseException) -> None:
        raise error

    return Invalidation(
        database=database, results=results, now_ms=Clock(), interval_seconds=1, on_failure=failure
    )


async def test_a_purge_reaches_the_copies_of_other_machines(
    settings: Settings, database: Database, machines: list[BucketStore]
) -> None:
    here, there = machines
    await put(here, "v1-1")
    await put(here, "v1-2", team="sales")
    assert await there.get("v1-1"), "this fills the other machine's disk"

    assert await purge(CacheAdmin(settings, database, here), Selection(team="design")) == 1
    await listening(database, there).hear()
    assert await here.get("v1-1") is None
    assert await there.get("v1-1") is None
    assert await there.get("v1-2")


async def test_a_fingerprint_is_purged_from_a_machine_that_alone_still_has_it(
    settings: Settings, database: Database, machines: list[BucketStore]
) -> None:
    here, there = machines
    await put(there, "v1-1")
    await there.get("v1-1")
    await here.delete("v1-1")  # as a lifecycle rule of the bucket does
    assert await there.get("v1-1"), "its own copy"

    await purge(CacheAdmin(settings, database, here), Selection(fingerprint="v1-1"))
    await listening(database, there).hear()
    assert await there.get("v1-1") is None


async def test_another_team_does_not_reach_the_copy_of_a_machine_by_its_fingerprint(
    settings: Settings, database: Database, machines: list[BucketStore]
) -> None:
    here, there = machines
    await put(there, "v1-1", team="blue")
    await there.get("v1-1")

    await purge(CacheAdmin(settings, database, here), Selection(fingerprint="v1-1", team="red"))
    await listening(database, there).hear()
    await here.delete("v1-1")  # so that only a copy can still be there
    assert await there.get("v1-1"), "its own copy"


async def test_what_has_gone_is_announced_though_the_purge_breaks_off(
    settings: Settings, database: Database, machines: list[BucketStore],
    bucket_url: str, tmp_path: Path,
) -> None:  # fmt: skip
    _, there = machines
    await put(there, "v1-1")
    (tmp_path / "file").touch()
    broken = DiskStore(tmp_path / "file" / "cache", MAX_BYTES)
    here = BucketStore(bucket_url, broken, 10, Clock())

    with pytest.raises(StoreUnavailable):
        await purge(CacheAdmin(settings, database, here), Selection())
    await here.close()
    await listening(database, there).hear()
    assert await there.get("v1-1") is None


# --- stats ----------------------------------------------------------------------------


async def use(database: Database, *rows: tuple[Outcome, str, str]) -> None:
    """Usage rows of an outcome, a team and a fingerprint; a hit or a wait saves a cent."""
    saving = (Outcome.HIT, Outcome.COALESCED)
    written = [
        usage.UsageRow(
            id=f"use-{number}", at_ms=NOW_MS, day=TODAY, request_id=f"req-{number}", team=team,
            key_id="k1", model="m", outcome=outcome, status=200, fingerprint=fingerprint,
            cause="reuse" if outcome in saving else "",
            saved_nanos=10_000_000 if outcome in saving else 0,
        )
        for number, (outcome, team, fingerprint) in enumerate(rows)
    ]  # fmt: skip
    await database.write(lambda tx: usage.record(tx, written))


async def test_holdings_say_what_is_stored_and_what_it_was_worth(
    cache: CacheAdmin, results: ResultStore, database: Database
) -> None:
    await put(results, "v1-1", created_ms=NOW_MS - DAY_MS)
    await put(results, "v1-2")
    await use(
        database,
        (Outcome.MISS, "design", "v1-1"),
        (Outcome.HIT, "design", "v1-1"),
        (Outcome.HIT, "sales", "v1-1"),
        (Outcome.COALESCED, "design", "v1-2"),
        (Outcome.REFUSED, "design", ""),
    )

    facts = (await cache.statistics(NOW_MS)).row()
    assert facts["entries"] == 2
    assert facts["max_bytes"] == 20 * 10**9
    assert facts["oldest_at"] == "2027-01-14T08:00:00Z"
    assert (facts["from"], facts["to"]) == ("2026-12-17", TODAY)
    assert (facts["answered"], facts["hits"], facts["coalesced"]) == (4, 2, 1)
    assert facts["hit_share"] == 0.5
    assert facts["saved_usd"] == "0.03"
    assert facts["top_by_use"] == [
        {"fingerprint": "v1-1", "model": "m", "uses": 2, "saved_usd": "0.02"},
        {"fingerprint": "v1-2", "model": "m", "uses": 1, "saved_usd": "0.01"},
    ]
    assert facts["counts"] is None


async def test_a_teams_holdings_are_what_it_paid_for_and_what_it_used(
    cache: CacheAdmin, results: ResultStore, database: Database
) -> None:
    await put(results, "v1-1", team="design")
    await put(results, "v1-2", SMALL, team="sales", created_ms=NOW_MS - 5)
    await put(results, "v1-3", SMALL, team="sales")
    await use(
        database,
        (Outcome.HIT, "design", "v1-1"),
        (Outcome.MISS, "sales", "v1-2"),
        (Outcome.HIT, "sales", "v1-2"),
    )

    held = await cache.statistics(NOW_MS, team="sales", counts=True)
    assert (held.entries, held.bytes) == (2, 2 * len(SMALL))
    assert held.oldest_at == time_text(NOW_MS - 5)
    assert (held.answered, held.hits) == (2, 1)
    assert [reuse.fingerprint for reuse in held.top_by_use] == ["v1-2"]
    assert held.max_bytes is None
    assert held.counts is None


async def test_an_empty_store_has_no_share_and_no_oldest_entry(cache: CacheAdmin) -> None:
    facts = (await cache.statistics(NOW_MS)).row()
    assert (facts["entries"], facts["oldest_at"], facts["hit_share"]) == (0, None, 0.0)
    assert facts["saved_usd"] == "0"


# --- verify ---------------------------------------------------------------------------


async def test_a_damaged_entry_is_found_deleted_and_counted(
    cache: CacheAdmin, results: ResultStore, tmp_path: Path
) -> None:
    for number in range(5):
        await put(results, f"v1-{number}")
    damaged = next((tmp_path / "cache").glob("??/*.val"))
    damaged.write_bytes(b"x" * damaged.stat().st_size)

    found = await cache.verify(ignored)
    assert (found.checked, found.damaged) == (5, 1)
    assert (await cache.verify(ignored)).damaged == 0
    assert len(await held(results)) == 4


async def test_an_index_that_had_to_be_given_up_does_not_pass_for_a_sound_one(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    store = DiskStore(tmp_path / "cache", MAX_BYTES)
    await put(store, "v1-1")
    await store.close()
    (tmp_path / "cache" / "cache.db").write_bytes(b"no database at all, and long enough" * 100)

    store = DiskStore(tmp_path / "cache", MAX_BYTES)
    found = await CacheAdmin(settings, database, store).verify(ignored)
    await store.close()
    assert found.damaged == 1
