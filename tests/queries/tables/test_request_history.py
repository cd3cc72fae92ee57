"""What the state knows of a request: its row, what is booked for it, what is still held."""

from __future__ import annotations

from dataclasses import replace

from gateway.accounts.tables.audit import Author
from gateway.coalescing.rules.lease import Lease
from gateway.coalescing.tables import leases
from gateway.database.database import Database
from gateway.ledger.tables import corrections, unresolved_reservations, usage
from gateway.queries.tables.request_history import RequestHistory, history_of
from tests.ledger.tables.test_usage import record, row
from tests.support.funds import CALLER, CENT, NOW_MS, Till, caller

OTHER = caller(key_id="k2")


async def history(database: Database, key_id: str = "k1", fingerprint: str = "") -> RequestHistory:
    return await database.read(lambda tx: history_of(tx, "req-1", key_id, fingerprint))


async def test_a_request_that_nobody_knows_leaves_nothing(database: Database) -> None:
    assert await history(database) == RequestHistory(None, [], [])


async def test_what_is_held_is_told_with_the_heartbeat_of_its_process(database: Database) -> None:
    till = await Till(database).open()
    await till.reserve("r1", request_id="req-1", owner_id="process-1")
    owner = unresolved_reservations.Owner("process-1", "here", 7, NOW_MS)
    await database.write(lambda tx: unresolved_reservations.beat(tx, owner, NOW_MS + 5))

    found = await history(database)
    assert (found.held_nanos, found.cost_nanos, found.row) == (CENT, 0, None)
    assert [each.heartbeat_ms for each in found.held] == [NOW_MS + 5]
    assert found.about
    assert (found.about.model, found.about.fingerprint) == ("deepshi-image-1", "fp")


async def test_a_settled_call_is_booked_and_no_longer_held(database: Database) -> None:
    till = await Till(database).open()
    await till.reserve("r1", request_id="req-1")
    await till.settle("r1", CENT)

    found = await history(database)
    assert (found.held_nanos, found.cost_nanos, found.estimated) == (0, CENT, False)
    assert found.upstream_request_id == "up-r1"


async def test_an_estimate_is_one_until_it_is_corrected_and_then_costs_that(
    database: Database,
) -> None:
    till = await Till(database).open()
    await till.reserve("r1", request_id="req-1")
    await till.settle("r1", None)
    estimated = await history(database)
    by = Author("root", NOW_MS, "the bill")
    await database.write(lambda tx: corrections.correct(tx, "req-1", CENT // 4, by))
    corrected = await history(database)

    assert (estimated.cost_nanos, estimated.estimated) == (CENT, True)
    assert (corrected.cost_nanos, corrected.estimated) == (CENT // 4, False)
    assert corrected.upstream_request_id == "up-r1"


async def test_a_voided_call_leaves_nothing(database: Database) -> None:
    till = await Till(database).open()
    await till.reserve("r1", request_id="req-1")
    await till.void("r1")

    assert (await history(database)).about is None


async def test_another_key_even_of_the_team_finds_none_of_it(database: Database) -> None:
    till = await Till(database).open(callers=(CALLER, OTHER))
    await till.reserve("r1", request_id="req-1")
    await till.reserve("r2", request_id="req-1")
    await till.settle("r1")
    await record(database, [row(1)])

    assert (await history(database)).about
    assert await history(database, "k2") == RequestHistory(None, [], [])


async def test_the_leases_of_its_edit_are_found_by_whatever_names_it(database: Database) -> None:
    till = await Till(database).open()
    lease = Lease("fp", "r9", "process-2", "req-9", NOW_MS, NOW_MS + 60_000)
    await database.write(lambda tx: leases.claim(tx, lease))
    fresh = replace(lease, key="fresh:fp", id="r8")
    await database.write(lambda tx: leases.claim(tx, fresh))

    assert {each.id for each in (await history(database, fingerprint="fp")).leases} == {"r8", "r9"}
    assert (await history(database)).leases == ()
    await till.reserve("r1", request_id="req-1")
    assert {each.id for each in (await history(database)).leases} == {"r8", "r9"}
    await till.void("r1")
    await database.write(lambda tx: usage.record(tx, [row(1, fingerprint="fp")]))
    assert {each.id for each in (await history(database)).leases} == {"r8", "r9"}
