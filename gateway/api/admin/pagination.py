"""Listings in pages: `limit` and `after` in, `has_more` and `next` out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from gateway.model.errors import Refusal

Item = TypeVar("Item")

USUAL, MOST = 100, 1000
NAMES = ("limit", "after")


@dataclass(frozen=True, slots=True)
class Page:
    """`limit` items that come after the one which the last page's `next` names."""

    limit: int
    after: str

    @property
    def fetch(self) -> int:
        """How many to read: one more than are shown tells whether there are more."""
        return self.limit + 1


def page_of(query: Mapping[str, str]) -> Page:
    """The page that a query asks for. Raises `invalid_field`."""
    text = query.get("limit", str(USUAL))
    limit = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
    if not 1 <= limit <= MOST:
        raise Refusal("invalid_field", f"limit is a number from 1 to {MOST}.", param="limit")
    return Page(limit, query.get("after", ""))


def listing(
    found: Sequence[Item],
    page: Page,
    show: Callable[[Item], Mapping[str, object]],
    cursor: Callable[[Item], str],
) -> dict[str, object]:
    """A page of what was found, `page.fetch` of which were asked for."""
    shown, more = found[: page.limit], len(found) > page.limit
    return {
        "object": "list",
        "data": [show(item) for item in shown],
        "has_more": more,
        "next": cursor(shown[-1]) if more else None,
    }
