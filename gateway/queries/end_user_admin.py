"""End users: what is kept of a person, and how a person is forgotten.

Used by the command line and by `/admin/v1/users`. Every stored result is looked at, so that it may
take long. Raises BadValue, StoreUnavailable and StateUnavailable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from gateway.accounts.rules.end_users import FORGOTTEN, OTHERS, Pseudonyms
from gateway.accounts.rules.errors import BadValue
from gateway.accounts.tables.audit import Author, append
from gateway.cache.kept_answers import KeptAnswers
from gateway.cache.result_store import Progress, ResultStore
from gateway.cache.rules.entry import Entry
from gateway.cache.tables.invalidation import Replaced, announce
from gateway.coalescing.rules.retry_results import KEPT_MS
from gateway.coalescing.tables import leases
from gateway.database.database import Database, Transaction
from gateway.gallery.tables import gallery
from gateway.ledger.tables import forget_user
from gateway.ledger.tables.end_users import kept_secret
from gateway.ledger.tables.forget_user import BoughtEdit, KeptOfUser
from gateway.queries.models.end_users import EndUserView, ForgottenUserView
from gateway.settings import Settings

_STORED_WITHIN_MS = 60_000
"""A result is stored after its call is booked, within this time."""


@dataclass(frozen=True, slots=True)
class BoughtResult:
    """A stored result that was bought for a person."""

    entry: Entry
    used_by_others: int

    def facts(self) -> dict[str, object]:
        entry = self.entry
        return {
            "fingerprint": entry.key,
            "team": entry.team,
            "model": entry.model,
            "created_at": entry.created_ms,
            "bytes": entry.body_bytes,
            "used_by_others": self.used_by_others,
        }


@dataclass(frozen=True, slots=True)
class KeptPerson:
    """What is kept under the names of a person."""

    names: Sequence[str]
    kept: KeptOfUser
    results: Sequence[BoughtResult]

    def facts(self) -> dict[str, object]:
        return {
            "names": self.names,
            "spending": self.kept.paid,
            "requests": self.kept.requests,
            "in_flight": self.kept.in_flight,
            "held_usd": self.kept.held_nanos,
            "results": [each.facts() for each in self.results],
        }


class EndUserAdmin:
    """Reads and forgets end users, of all teams or of one."""

    def __init__(
        self, settings: Settings, database: Database, results: ResultStore, answers: KeptAnswers
    ) -> None:
        self._settings = settings
        self._database = database
        self._results, self._answers = results, answers

    async def show(self, user: str, team: str | None, progress: Progress) -> EndUserView:
        """What is kept of a person."""
        return EndUserView.of((await self._kept(user, team, progress)).facts())

    async def forget(
        self, user: str, team: str | None, by: Author, progress: Progress, *, dry_run: bool
    ) -> ForgottenUserView:
        """Delete what was bought for a person, and take the person's name out of the books.

        Safe to run again: what a crash left is deleted then.
        """
        found = await self._kept(user, team, progress)
        deleted = 0 if dry_run else await self._forget(found, team, by)
        return ForgottenUserView.of(
            {
                **found.facts(),
                "dry_run": dry_run,
                "results_deleted": deleted,
                "not_reached": self._not_reached(),
            }
        )

    async def _forget(self, found: KeptPerson, team: str | None, by: Author) -> int:
        """The audit is written first, without a name, and the names in the books go last."""
        names, write = found.names, self._database.write
        facts: dict[str, object] = {"results": len(found.results), "team": team or ""}
        await write(lambda tx: append(tx, by, "users.forget", "end user", {}, facts))
        deleted = await self._delete_bought(found.kept.bought, by)
        await self._answers.forget_users(names, team)
        await write(lambda tx: forget_user.drop_remembered_refusals(tx, names, team))
        days = await self._database.read(lambda tx: forget_user.days_of(tx, names, team))
        for day in days:
            forget = partial(forget_user.forget_day, names=names, team=team, day=day)
            await write(forget, urgent=False)
        if not found.kept.in_flight:
            await write(lambda tx: forget_user.drop_accounts(tx, names, team))
        late = [each for each in found.kept.bought if by.now_ms - each.at_ms < _STORED_WITHIN_MS]
        return deleted + await self._delete_bought(late, by)

    async def _delete_bought(self, bought: Sequence[BoughtEdit], by: Author) -> int:
        """Delete all that is kept of what was bought: the results. Returns their number.

        Whatever else will be kept of a call (its inputs, thumbnails, links) is deleted here, by
        the request's id or the fingerprint.
        """
        ids = {each.request_id for each in bought}
        gone: dict[str, int] = {}

        def is_of_person(entry: Entry) -> bool:
            if entry.request_id not in ids:
                return False
            gone[entry.key] = max(entry.created_ms + 1, gone.get(entry.key, 0))
            return True

        async def announce_gone(tx: Transaction) -> None:
            await leases.purged(tx, gone)
            await gallery.drop(tx, gone)
            await announce(tx, [Replaced(*item) for item in gone.items()], by.now_ms)

        await self._database.write(lambda tx: gallery.forget(tx, ids), urgent=False)
        try:
            return await self._results.purge(is_of_person) if ids else 0
        finally:
            if gone:
                await self._database.write(announce_gone, urgent=False)

    async def _kept(self, user: str, team: str | None, progress: Progress) -> KeptPerson:
        if not user.strip() or user.strip() in (OTHERS, FORGOTTEN):
            raise BadValue(
                "user names one person, as the requests did or as usage shows it.", "user"
            )
        name = user.strip()

        async def read(tx: Transaction) -> tuple[list[str], KeptOfUser]:
            secret = await kept_secret(tx)
            hashed = [Pseudonyms(secret=secret).hashed(name)] if secret else []
            names = [*hashed, name]
            return names, await forget_user.kept_of(tx, names, team)

        names, kept = await self._database.read(read)
        return KeptPerson(names, kept, await self._results_of(kept.bought, progress))

    async def _results_of(
        self, bought: Sequence[BoughtEdit], progress: Progress
    ) -> list[BoughtResult]:
        """The stored results that were bought by these requests, not by later ones."""
        others = {each.request_id: each.used_by_others for each in bought}
        if not others:
            return []
        total, seen = (await self._results.stats()).entries, 0
        found: list[BoughtResult] = []
        async for entry in self._results.entries():
            seen += 1
            progress(seen, max(total, seen))
            if entry.request_id in others:
                found.append(BoughtResult(entry, others[entry.request_id]))
        return found

    def _not_reached(self) -> list[str]:
        seconds = max(KEPT_MS / 1000, self._settings.cache.refusal_memory_seconds)
        return [
            "backups of the state and of the results",
            "the upstream, which received the prompts and pictures",
            "exports, reports and logs that were written before",
            "the ledger's request ids and fingerprints, with which closed months are sealed",
            f"the memory of running processes, for {seconds:.0f} s at most",
            f"what was counted as {OTHERS}: see [accounts] max_end_users",
        ]
