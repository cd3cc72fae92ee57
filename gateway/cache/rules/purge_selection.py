"""Which stored results a purge is about."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.cache.rules.entry import Entry, with_inputs
from gateway.model.units import time_text


@dataclass(frozen=True, slots=True)
class Selection:
    """Results that fit every field that is set; all of them where none is.

    `picture` is the digest of a reference image's bytes, wherever it stood among the
    references of the edit.
    """

    fingerprint: str | None = None
    team: str | None = None
    key_id: str | None = None
    model: str | None = None
    made_before_ms: int | None = None
    picture: str | None = None

    def matches(self, entry: Entry) -> bool:
        """Is this entry one of them?"""
        return (
            (self.fingerprint is None or entry.key in with_inputs(self.fingerprint))
            and self.team in (None, entry.team)
            and self.key_id in (None, entry.key_id)
            and self.model in (None, entry.model)
            and (self.made_before_ms is None or entry.created_ms < self.made_before_ms)
            and (self.picture is None or self.picture in entry.references)
        )

    def facts(self) -> dict[str, object]:
        """What narrows it, by the names that people know; `all` where nothing does."""
        made_before = None if self.made_before_ms is None else time_text(self.made_before_ms)
        facts: dict[str, object] = {
            "fingerprint": self.fingerprint,
            "team": self.team,
            "key": self.key_id,
            "model": self.model,
            "made_before": made_before,
            "containing": self.picture,
        }
        narrowing = {name: value for name, value in facts.items() if value is not None}
        return narrowing or {"all": True}
