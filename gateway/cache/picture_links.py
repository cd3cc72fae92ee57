"""Makes and checks signed links to pictures of stored results, valid at every process."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from gateway.cache.rules.entry import Entry
from gateway.cache.rules.picture_link import (
    DAY_SECONDS,
    BadLink,
    PictureId,
    Secrets,
    check_query,
    query_of,
)
from gateway.cache.tables import link_keys
from gateway.database.database import Database, StateUnavailable, Transaction

_AHEAD_SECONDS = 3_600
"""A day's key is made this long before the first link needs it, so that every process has it."""
_SECRET_BYTES = 32


@dataclass(kw_only=True, slots=True)
class PictureLinks:
    """Links below `public_url` that are valid for `link_seconds`; without a URL there are none."""

    database: Database
    public_url: str
    link_seconds: float
    now_ms: Callable[[], int]
    on_failure: Callable[[str, BaseException], None]
    _secrets: Secrets = field(init=False, default_factory=dict)

    @property
    def enabled(self) -> bool:
        return bool(self.public_url)

    async def refresh(self) -> None:
        """Read the keys, and make those of the days on which new links will expire."""
        if not self.enabled:
            return
        now = self.now_ms() // 1000
        wanted = range(now // DAY_SECONDS, self._latest(now + _AHEAD_SECONDS) // DAY_SECONDS + 1)
        try:
            found = await self.database.read(link_keys.read_keys)
            if missing := [day for day in wanted if day not in found]:
                new = {day: secrets.token_hex(_SECRET_BYTES) for day in missing}
                adding = partial(link_keys.add_keys, secrets=new)
                found = await self.database.write(adding, urgent=False)
        except StateUnavailable as error:
            self.on_failure("links", error)
            return
        self._secrets = {day: bytes.fromhex(secret) for day, secret in found.items()}

    async def sweep(self, tx: Transaction) -> None:
        """Delete the keys of links that have expired."""
        await link_keys.sweep(tx, self.now_ms() // 1000 // DAY_SECONDS)

    def url_of(self, entry: Entry, place: int, media_type: str, ending: str) -> str:
        """A link to a picture of a stored result. Raises KeyError without a key."""
        expires = self._latest(self.now_ms() // 1000)
        picture = PictureId.of(entry.key, entry.body_digest, place, ending)
        query = query_of(picture, media_type, expires, self._secrets)
        return f"{self.public_url}/v1/pictures/{picture}?{query}"

    def check(self, picture: PictureId, media_type: str, query: str) -> int:
        """When the link expires, in Unix seconds. Raises BadLink."""
        return check_query(picture, media_type, query, self._secrets, self.now_ms() / 1000)

    def _latest(self, now: int) -> int:
        return now + int(self.link_seconds)


__all__ = ["BadLink", "PictureId", "PictureLinks"]
