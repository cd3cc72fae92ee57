"""Suggestions for an unknown name."""

from __future__ import annotations

from collections.abc import Collection, Iterable


def did_you_mean(name: str, known: Collection[str]) -> str:
    """A sentence with the closest known name, or with all of them if none is close."""
    close = _closest(name, known, 0.5)
    return f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(known) or 'none'}."


def similar(name: str, known: Iterable[str]) -> str | None:
    """The one of these variables that reads like `name` but for case, underscores and a slip."""
    by_letters = {_letters(each): each for each in known}
    close = _closest(_letters(name), by_letters, 0.88)
    return by_letters[close[0]] if close else None


def _closest(name: str, known: Iterable[str], cutoff: float) -> list[str]:
    import difflib  # a command without a slip needs none of it

    return difflib.get_close_matches(name, known, n=1, cutoff=cutoff)


def _letters(name: str) -> str:
    return name.upper().replace("_", "")
