"""A page of the console: what it is asked, and what it may answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gateway.api.admin import AdminCalls
from gateway.api.admin.books import ExportedFile
from gateway.api.admin.calls import NOTHING
from gateway.api.admin.request_input import parsed_query
from gateway.api.admin.routes import ROUTES
from gateway.api.admin.token_holder import Role
from gateway.api.responses import refusal_of
from gateway.api.sandbox import Sandbox
from gateway.console.forms import Form, fields_of
from gateway.console.sessions import Sessions
from gateway.console.visitor import Visit, Visitor
from gateway.gallery.thumbnails import Thumbnails
from gateway.queries.models.read_model import Json, ReadModel
from gateway.runtime.container import Container
from gateway.runtime.process_context import ProcessContext
from gateway.server.exchange import Exchange

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Rendered:
    """A template with its values. `cookie` is set where the browser has none yet, or a new one."""

    template: str
    values: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200
    cookie: str = ""


@dataclass(frozen=True, slots=True)
class SeeOther:
    """Another page of the console, such as `/console/spend`. `cookie` replaces the browser's."""

    path: str
    cookie: str = ""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file."""

    body: bytes
    content_type: str
    file_name: str


@dataclass(frozen=True, slots=True)
class SentAlready:
    """The handler has sent the answer itself."""


@dataclass(frozen=True, slots=True)
class SeeProvider:
    """A page of the provider of single sign-on. `cookie` is the browser's, which may be new."""

    url: str
    cookie: str


Answer = Rendered | SeeOther | SeeProvider | Attachment | ExportedFile | SentAlready


@dataclass(frozen=True, slots=True)
class PageRequest:
    """A request for a page; `form` is what a POST carries."""

    exchange: Exchange
    parts: Container
    calls: AdminCalls
    sandbox: Sandbox
    sessions: Sessions
    visit: Visit
    base_url: str
    thumbnails: Thumbnails
    form: Form = field(default_factory=Form)
    pictures: AsyncIterator[bytes] | None = None
    """The rest of a form with pictures, which the pipeline reads."""

    @property
    def context(self) -> ProcessContext:
        return self.parts.context

    @property
    def visitor(self) -> Visitor:
        """Who has signed in; for pages that are not public."""
        if self.visit.visitor is None:
            raise LookupError("a public page has asked for its visitor")
        return self.visit.visitor

    @property
    def query(self) -> Mapping[str, str]:
        """The parameters of the query. Raises `invalid_field`."""
        return fields_of(self.exchange.query)

    async def call(
        self,
        route: str,
        *,
        path: Mapping[str, str] = NOTHING,
        query: Mapping[str, Any] = NOTHING,
        body: Mapping[str, Any] = NOTHING,
        upload: bytes = b"",
    ) -> Json:
        """What a route of `/admin/v1` answers to the visitor. Raises Refusal."""
        return await asyncio.to_thread(
            (await self._view(route, path, query, body, upload)).document
        )

    async def csv(self, route: str, query: Mapping[str, str]) -> str:
        """The same as CSV, of a route that has it."""
        row = ROUTES[route]
        if row.csv is None:
            raise LookupError(f"{route} has no CSV")
        view = await self._view(route, NOTHING, query, NOTHING)
        return await asyncio.to_thread(row.csv, view, parsed_query(query, row.query))

    async def spent(self, query: Mapping[str, str]) -> Mapping[tuple[str, ...], int]:
        """What the groups of `GET /usage` spent, in nano-dollars."""
        return await self.reading(self.calls.spent(self.visitor.holder, query))

    async def _view(
        self,
        route: str,
        path: Mapping[str, str],
        query: Mapping[str, Any],
        body: Mapping[str, Any],
        upload: bytes = b"",
    ) -> ReadModel:
        return await self.reading(
            self.calls.call(
                self.visitor.holder, route, path=path, query=query, body=body, upload=upload
            )
        )

    async def reading(self, answer: Awaitable[Result]) -> Result:
        """Await what may raise errors of accounts or of the state: they become a Refusal."""
        try:
            return await answer
        except Exception as error:
            if refusal := refusal_of(error, self.exchange):
                raise refusal from error
            raise


Handler = Callable[[PageRequest], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class WebPage:
    """A row of the table of pages.

    `menu` is its entry in the menu. `needs` is the route of `/admin/v1` that it reads: whose roles
    may use that may see the page. `members` may see it too; `public` needs no sign-in.
    """

    handler: Handler
    menu: str = ""
    needs: str = ""
    members: bool = False
    public: bool = False

    def is_for(self, visitor: Visitor) -> bool:
        if visitor.holder.role is Role.MEMBER:
            return self.members
        return not self.needs or visitor.holder.role in ROUTES[self.needs].roles
