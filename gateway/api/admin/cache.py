"""The results: what is held, a purge, and a check of every digest.

They lie outside the state, so that these routes are no transactions. Each answers within half a
minute; where that was not enough, `complete` is false, the work goes on in this process, and
asking the same again waits on.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

from gateway.api.admin.background_jobs import BackgroundJob, BackgroundJobs
from gateway.api.admin.permissions import check_own
from gateway.api.admin.request_input import AdminRequest, check_names
from gateway.cache.result_store import Progress, Verified
from gateway.cache.rules.purge_selection import Selection
from gateway.model.errors import Refusal
from gateway.model.units import seconds_of
from gateway.queries.cache import Holdings, Housekeeper, Selected
from gateway.queries.serializers import Facts

NARROWING = ("fingerprint", "team", "key", "model", "older_than", "containing")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class CacheHandlers:
    """Answers what is asked of `/admin/v1/cache`. Raises Refusal, ResultsUnavailable."""

    def __init__(self, housekeeper: Housekeeper) -> None:
        self._housekeeper = housekeeper
        self._jobs = BackgroundJobs()

    async def close(self) -> None:
        """Break off what is under way."""
        await self._jobs.close()

    async def stats(self, asked: AdminRequest) -> Facts:
        team = asked.query.get("team", asked.confined_to)
        if team is not None:
            check_own(asked.confined_to, team)

        async def look(_: Progress) -> Holdings:
            return await self._housekeeper.holdings(asked.by.now_ms, team=team, counted=True)

        chore = await self._jobs.wait(("stats", team), look)
        held = chore.result
        return {"object": "cache", **_how_far(chore), **(held.facts() if held else {})}

    async def purge(self, asked: AdminRequest) -> Facts:
        check_names(asked.document, (*NARROWING, "all", "dry_run"), "field")
        selection = await self._selection(asked)
        # By what was asked, not by the selection: an age is another moment every time.
        asked_for = tuple(str(asked.document.get(name)) for name in NARROWING)
        name = (asked.confined_to, *asked_for)
        if _flag(asked, "dry_run"):
            return await self._selected(("select", *name), selection)

        async def clear(progress: Progress) -> tuple[Selected, int]:
            selected = await self._housekeeper.select(selection, progress)
            return selected, await self._housekeeper.purge(selected, asked.by, progress)

        chore = await self._jobs.wait(("purge", *name), clear)
        ended = chore.result
        return {
            "object": "purge",
            "dry_run": False,
            **_how_far(chore),
            "selection": selection.facts(),
            **(ended[0].facts() if ended else {}),
            "purged": ended[1] if ended else None,
        }

    async def _selected(self, name: Hashable, selection: Selection) -> Facts:
        async def look(progress: Progress) -> Selected:
            return await self._housekeeper.select(selection, progress)

        chore = await self._jobs.wait(name, look)
        selected = chore.result
        return {
            "object": "purge",
            "dry_run": True,
            **_how_far(chore),
            "selection": selection.facts(),
            **(selected.facts() if selected else {}),
            "purged": 0,
        }

    async def verify(self, asked: AdminRequest) -> Facts:
        check_names(asked.document, (), "field")

        async def check(progress: Progress) -> Verified:
            return await self._housekeeper.verify(progress)

        chore = await self._jobs.wait("verify", check)
        found = chore.result
        return {
            "object": "cache_verification",
            **_how_far(chore),
            "checked": found.checked if found else chore.done,
            "damaged": found.damaged if found else None,
        }

    async def _selection(self, asked: AdminRequest) -> Selection:
        """What a purge is about. Raises `missing_field` where nothing says so, not even `all`."""
        given = [asked.document.get(name) is not None for name in NARROWING]
        everything = _flag(asked, "all")
        if not any(given) and not everything:
            raise Refusal(
                "missing_field",
                f"Say what is to be purged: {', '.join(NARROWING)}, or all: true.",
                param="all",
            )
        return Selection(
            fingerprint=_text(asked, "fingerprint"),
            team=_team(asked),
            key_id=await self._key_id(asked),
            model=_text(asked, "model"),
            made_before_ms=_made_before_ms(asked),
            picture=_picture(asked),
        )

    async def _key_id(self, asked: AdminRequest) -> str | None:
        key = _text(asked, "key")
        if key is None or "/" not in key:
            return key
        check_own(asked.confined_to, key.partition("/")[0])
        return await self._housekeeper.key_id(key)


def _how_far(chore: BackgroundJob[Any]) -> Facts:
    """Is it whole? Where it isn't, how much of it has been looked at."""
    if chore.task.done():
        return {"complete": True}
    return {"complete": False, "done": chore.done, "total": chore.total}


def _team(asked: AdminRequest) -> str | None:
    team = _text(asked, "team")
    team = asked.confined_to if team is None else team
    if team is not None:
        check_own(asked.confined_to, team)
    return team


def _text(asked: AdminRequest, name: str) -> str | None:
    """A field that may be left out, but not be empty: nothing is easily meant as all."""
    if asked.document.get(name) is None:
        return None
    text = asked.text(name)
    if not text:
        raise Refusal("invalid_field", f"{name} is empty; leave it out.", param=name)
    return text


def _flag(asked: AdminRequest, name: str) -> bool:
    value = asked.document.get(name)
    if value is not None and not isinstance(value, bool):
        raise Refusal("invalid_field", f"{name} is true or false.", param=name)
    return bool(value)


def _made_before_ms(asked: AdminRequest) -> int | None:
    """Seconds, or text such as `30d`, back from now."""
    value = asked.document.get("older_than")
    if value is None:
        return None
    try:
        seconds = float(str(seconds_of(value)))
    except ValueError:
        seconds = -1.0
    if isinstance(value, bool) or not 0 <= seconds <= asked.by.now_ms / 1000:
        raise Refusal(
            "invalid_field", 'older_than is an age: seconds, or text such as "30d".', "older_than"
        )
    return asked.by.now_ms - int(seconds * 1000)


def _picture(asked: AdminRequest) -> str | None:
    digest = _text(asked, "containing")
    if digest is not None and not _DIGEST.fullmatch(digest):
        raise Refusal(
            "invalid_field",
            "containing takes the BLAKE3 hash of the picture's bytes, 64 hexadecimal digits (what "
            "b3sum prints). `gateway cache purge --containing FILE` takes the file itself.",
            param="containing",
        )
    return digest
