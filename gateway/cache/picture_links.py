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
    """Links below `public_url` that are valid for `link_seconds`; without a URL there are none.

    A link that a person shares is valid for `share_seconds`; 0 allows none.
    """

    database: Database
    public_url: str
    link_seconds: float
    now_ms: Callable[[], int]
    on_failure: Callable[[str, BaseException], None]
    share_seconds: float = 0.0
    _secrets: Secrets = field(init=False, default_factory=dict)

    @property
    def enabled(self) -> bool:
        return bool(self.public_url)

    async def refresh(self) -> None:
        """Read the keys, and make those of the days on which new links will expire."""
        if not self.enabled:
            return
        now = self.now_ms() // 1000
        last = now + _AHEAD_SECONDS + int(max(self.link_seconds, self.share_seconds))
        wanted = range(now // DAY_SECONDS, last // DAY_SECONDS + 1)
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
        picture = PictureId.of(entry.key, entry.body_digest, place, ending)
        return self._url(picture, media_type, self.link_seconds)

    def url_to_share(self, picture: PictureId, media_type: str) -> str:
        """A link that a person gives to others. Raises KeyError without a key."""
        return self._url(picture, media_type, self.share_seconds)

    def _url(self, picture: PictureId, media_type: str, seconds: float) -> str:
        expires = self.now_ms() // 1000 + int(seconds)
        query = query_of(picture, media_type, expires, self._secrets)
        return f"{self.public_url}/v1/pictures/{picture}?{query}"

    def check(self, picture: PictureId, media_type: str, query: str) -> int:
        """When the link expires, in Unix seconds. Raises BadLink."""
        return check_query(picture, media_type, query, self._secrets, self.now_ms() / 1000)


__all__ = ["BadLink", "PictureId", "PictureLinks"]
