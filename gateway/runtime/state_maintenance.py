"""Recurring work on the state: heartbeats, abandoned reservations, expired rows."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from functools import partial

from gateway.accounts.rules.rate_leases import minute_of
from gateway.accounts.tables import rate_leases
from gateway.accounts.tables.audit import Author
from gateway.cache.invalidation import Invalidation
from gateway.cache.kept_answers import KeptAnswers
from gateway.cache.picture_links import PictureLinks
from gateway.coalescing.lease_transaction import Leases
from gateway.database.database import StateUnavailable, Transaction
from gateway.gallery.gallery import Gallery
from gateway.ledger.rules.abandonment import Abandonment
from gateway.ledger.tables import coarse_rollups, unresolved_reservations, usage
from gateway.ledger.tables.unresolved_reservations import Owner
from gateway.model.money import usd
from gateway.model.windows import day_of, days_before
from gateway.runtime.process_context import ProcessContext
from gateway.server.allocator import give_back

DAY_MS = 86_400_000
KEPT_RATE_MINUTES = 5


@dataclass(frozen=True, slots=True)
class StateMaintenance:
    """Each method does one round. A failure is reported, and the next round tries again."""

    context: ProcessContext
    leases: Leases
    invalidation: Invalidation
    links: PictureLinks
    answers: KeptAnswers
    gallery: Gallery

    async def beat(self) -> None:
        """Renew this process's heartbeat; without it other processes take over its flights."""
        owner, now_ms = self.context.owner, self.context.clock()
        try:
            await self.context.database.write(
                lambda tx: unresolved_reservations.beat(tx, owner, now_ms), urgent=False
            )
        except Exception as error:  # noqa: BLE001 - the next heartbeat may succeed
            self.context.on_failure("heartbeat", error)

    async def retire(self) -> None:
        """Remove this process's heartbeat: it has no open reservation and makes no new one."""
        owner_id = self.context.owner.id
        try:
            await self.context.database.write(
                lambda tx: unresolved_reservations.retire(tx, owner_id)
            )
        except StateUnavailable as error:
            self.context.on_failure("heartbeat", error)

    async def settle_abandoned(self) -> None:
        """Settle the reservations of dead processes; audit and log list them."""
        now_ms = self.context.clock()
        by = Author("gateway", now_ms, "its process is gone")
        rule = Abandonment(now_ms, self.context.settings.longest_flight_ms)
        try:
            silent = await self.context.database.read(
                lambda tx: unresolved_reservations.silent_owners(tx, rule)
            )
            ended = [owner.id for owner, replaced in silent if replaced or self._has_ended(owner)]
            settled = await self.context.database.write(
                lambda tx: unresolved_reservations.resolve(tx, by, rule, ended=ended), urgent=False
            )
        except StateUnavailable as error:
            self.context.on_failure("resolving", error)
            return
        if settled:
            self.context.log.warning(
                "reservations of a dead process settled",
                count=len(settled),
                reservations=[held.id for held in settled],
                booked_usd=usd(sum(held.ceiling_nanos for held in settled)),
            )

    def _has_ended(self, owner: Owner) -> bool:
        """True for a process of this host that does not run; others can't be asked."""
        if owner.host != self.context.owner.host:
            return False
        try:
            os.kill(owner.pid, 0)
        except OSError as error:
            return isinstance(error, ProcessLookupError)
        return False

    async def housekeep(self) -> None:
        """Return free memory, refresh links' keys and the clock, delete expired rows, mend sums."""
        await asyncio.to_thread(give_back)
        await self.links.refresh()
        try:
            await self.context.clock.measure(self.context.database)
            await self.context.database.write(self._delete_expired, urgent=False)
            await self.answers.sweep()
            await self._mend_sums()
        except StateUnavailable as error:
            self.context.on_failure("housekeeping", error)

    async def _mend_sums(self) -> None:
        """Make the coarser sums of this month and the last one anew where they are not whole."""
        database = self.context.database
        today = day_of(self.context.clock(), self.context.settings.zone)
        for month in (days_before(f"{today[:7]}-01", 1)[:7], today[:7]):
            if not await database.read(partial(coarse_rollups.are_whole, month=month)):
                await database.write(partial(coarse_rollups.make_anew, month=month), urgent=False)
                self.context.log.info("sums of a month made anew", month=month)

    async def _delete_expired(self, tx: Transaction) -> None:
        now_ms, settings = self.context.clock(), self.context.settings
        await self.leases.sweep(tx)
        await self.invalidation.sweep(tx)
        await self.links.sweep(tx)
        await self.gallery.sweep(tx)
        await rate_leases.sweep(tx, minute_of(now_ms) - KEPT_RATE_MINUTES)
        oldest_ms = now_ms - settings.state.usage_days * DAY_MS
        await usage.fold(tx, day_of(oldest_ms, settings.zone))
