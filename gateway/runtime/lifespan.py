"""The lifespan of a gateway: the order in which its parts start and stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from gateway.accounts.authenticator import refresh
from gateway.cache.tables.fingerprint_upgrade import upgraded_ms
from gateway.database.database import Database, StateUnavailable
from gateway.database.migrate import migrate
from gateway.edits.result_cache import ResultCache
from gateway.ledger.tables.end_users import pseudonym_secret
from gateway.runtime.backends import VERSION
from gateway.runtime.container import Container
from gateway.runtime.job_table import job_table
from gateway.runtime.services import UpstreamServices

FIRST_CATALOGUE_SECONDS = 1.0
SETTLE_SECONDS = 5.0


@asynccontextmanager
async def running(parts: Container) -> AsyncIterator[None]:
    """Start the parts; at the end wait for flights, write what is left, and close."""
    context = parts.context
    await _prepare(parts)
    parts.operation.background.start(job_table(parts))
    what = {"sandbox": True} if context.sandbox else {}
    context.log.info("started", version=VERSION, pid=os.getpid(), **what)
    try:
        yield
    finally:
        await _stop(parts)
        context.log.info("stopped", pid=os.getpid(), **what)


async def _prepare(parts: Container) -> None:
    database, clock = parts.context.database, parts.context.clock
    await migrate(database)
    await clock.measure(database)
    await _note_upgrade(parts.edits.pipeline.cache, database, clock())
    secret = partial(pseudonym_secret, now_ms=clock())
    parts.edits.pipeline.pseudonyms.secret = await database.write(secret)
    if not parts.context.sandbox:
        await refresh(parts.authenticator, database, clock)
        await asyncio.gather(*map(_load_catalogue, parts.upstreams.values()))
    await parts.cache.links.refresh()
    await parts.cache.gallery.prepare()
    await parts.cache.results.start()


async def _note_upgrade(cache: ResultCache, database: Database, now_ms: int) -> None:
    begun_ms = await database.write(partial(upgraded_ms, now_ms=now_ms))
    cache.upgrade.until_ms = begun_ms + int(cache.ttl_seconds * 1000)


async def _load_catalogue(upstream: UpstreamServices) -> None:
    """Load the stored copy of the catalogue, or wait a moment for the upstream's."""
    if body := await upstream.stored_catalogue():
        upstream.catalogue.load(body)
        return
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(upstream.catalogue.refresh(), FIRST_CATALOGUE_SECONDS)


async def _stop(parts: Container) -> None:
    context, flights, shutdown = parts.context, parts.coalescing.flights, parts.operation.shutdown
    shutdown.begin()
    await parts.coalescing.lease_watcher.close()
    unfinished = await flights.drain(shutdown.seconds_left)
    if unfinished:
        shutdown.end()
        await _close_clients(parts)  # their calls fail, and are booked as failed calls
    unsettled = await flights.drain(SETTLE_SECONDS)
    await parts.operation.detached.drain(SETTLE_SECONDS)
    unwritten = await parts.budgets.service.drain(SETTLE_SECONDS)
    await parts.operation.background.stop()
    await parts.edits.recorder.flush()
    await parts.cache.gallery.flush()
    await _announce_replaced(parts)
    await parts.budgets.monitor.close()
    if unfinished or unwritten:
        context.log.warning(
            "stopped with calls unfinished", flights=unfinished, unwritten=unwritten
        )
    if not (unsettled or unwritten):
        await parts.operation.maintenance.retire()
    await _close_clients(parts)
    await parts.cache.results.close()
    await parts.cache.answers.close()
    await context.database.close()
    await asyncio.to_thread(context.spans.close)


async def _close_clients(parts: Container) -> None:
    await asyncio.gather(*(each.client.close() for each in parts.upstreams.values()))


async def _announce_replaced(parts: Container) -> None:
    """Announce the results replaced in the last moments: other machines may have old copies."""
    try:
        await parts.cache.invalidation.tell()
    except StateUnavailable as error:
        parts.context.on_failure("announcements", error)
