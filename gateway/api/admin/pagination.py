"""Listings in pages: `limit` and `after` in, `has_more` and `next` out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, Literal, TypeVar

from pydantic import SerializeAsAny

from gateway.api.admin.inputs import PageQuery
from gateway.queries.models.read_model import ReadModel

Item = TypeVar("Item")
View = TypeVar("View", bound=ReadModel)


class Page(ReadModel, Generic[View]):
    """A page of a listing; `next` goes into `after` to get the page after it."""

    object: Literal["list"] = "list"
    data: list[SerializeAsAny[View]]
    has_more: bool
    next: str | None


def page_of(
    found: Sequence[Item],
    query: PageQuery,
    view: Callable[[Item], ReadModel],
    cursor: Callable[[Item], str],
) -> Page[ReadModel]:
    """A page of what was found when `query.fetch` items were read."""
    shown, more = found[: query.limit], len(found) > query.limit
    return Page(
        data=[view(item) for item in shown],
        has_more=more,
        next=cursor(shown[-1]) if more else None,
    )
