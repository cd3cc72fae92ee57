"""Runs a route of the table: for a request to `/admin/v1`, and for a page of the console.

The role is checked, then the route's handler runs, in the state in one transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from gateway.accounts.tables.audit import Author
from gateway.api.admin import ledger
from gateway.api.admin.books import BooksHandlers, ExportedFile
from gateway.api.admin.cache import CacheHandlers
from gateway.api.admin.end_users import EndUserHandlers
from gateway.api.admin.inputs import Body, Query, UsageQuery
from gateway.api.admin.request_input import AdminRequest, parsed_body, parsed_query
from gateway.api.admin.routes import (
    ROUTES,
    AdminRoute,
    BooksRoute,
    CacheRoute,
    EndUserRoute,
    RequestRoute,
)
from gateway.api.admin.token_holder import Role, TokenHolder, check_role
from gateway.cache.kept_answers import KeptAnswers
from gateway.cache.result_store import ResultStore
from gateway.database.database import Operation, Result, Transaction
from gateway.queries.cache_admin import CacheAdmin
from gateway.queries.end_user_admin import EndUserAdmin
from gateway.queries.models.read_model import ReadModel
from gateway.queries.request_status import RequestStatus
from gateway.runtime.books_thread import BooksThread
from gateway.runtime.process_context import ProcessContext

Asked = TypeVar("Asked", bound=Query)

USAGE = "GET /usage"
NOTHING: Mapping[str, Any] = MappingProxyType({})
MOST_READING = 2
"""Fewer than either database has readers."""


class Turns:
    """One lock for each who asks, so that many questions of one delay nobody else's."""

    def __init__(self) -> None:
        self._locks = WeakValueDictionary[str, asyncio.Lock]()

    def of(self, actor: str) -> asyncio.Lock:
        return self._locks.setdefault(actor, asyncio.Lock())


class AdminCalls:
    """The routes of the table, called in this process."""

    def __init__(
        self,
        context: ProcessContext,
        results: ResultStore,
        answers: KeptAnswers,
        request_status: RequestStatus,
    ) -> None:
        self._settings, self._database = context.settings, context.database
        self._cache_handlers = CacheHandlers(
            CacheAdmin(context.settings, context.database, results)
        )
        self._end_user_handlers = EndUserHandlers(
            EndUserAdmin(context.settings, context.database, results, answers)
        )
        self._books_handlers = BooksHandlers(
            context.settings, context.database, BooksThread(context.settings.state)
        )
        self._request_status = request_status
        self._turns, self._reading = Turns(), asyncio.Semaphore(MOST_READING)
        self._now_ms = context.clock

    async def close(self) -> None:
        """Cancel the background jobs; before the results and the state are closed."""
        await self._cache_handlers.close()
        await self._end_user_handlers.close()
        await self._books_handlers.close()

    async def call(
        self,
        holder: TokenHolder,
        route: str,
        *,
        path: Mapping[str, str] = NOTHING,
        query: Mapping[str, Any] = NOTHING,
        body: Mapping[str, Any] = NOTHING,
        upload: bytes = b"",
    ) -> ReadModel:
        """What a request of this holder gets. Raises Refusal, AccountError, StateUnavailable.

        `upload` is the statement of a StatementRoute.
        """
        row = ROUTES[route]
        check_role(holder, row.roles, route)
        asked = parsed_query(query, row.query)
        given = parsed_body(body, row.body)
        return await self.run(holder, route, path, asked, given, upload=upload)

    async def run(
        self,
        holder: TokenHolder,
        route: str,
        path: Mapping[str, str],
        query: Query,
        body: Body,
        *,
        upload: bytes = b"",
        wants_csv: bool = False,
    ) -> ReadModel:
        """The answer to a request that is permitted and parsed."""
        request = replace(
            self._request(holder, path, query, body), upload=upload, wants_csv=wants_csv
        )
        return await self._handle(ROUTES[route], request, reads=route.startswith("GET "))

    async def spent(
        self, holder: TokenHolder, query: Mapping[str, Any]
    ) -> Mapping[tuple[str, ...], int]:
        """What the groups of `GET /usage` spent, in nano-dollars. Raises as `call` does."""
        check_role(holder, ROUTES[USAGE].roles, USAGE)
        request = self._request(holder, NOTHING, parsed_query(query, UsageQuery), Body())
        return await self._read(request.by, lambda tx: ledger.spent(tx, request))

    async def download(
        self, holder: TokenHolder, route: str, path: Mapping[str, str], query: Query
    ) -> ExportedFile:
        """The file of an ExportRoute, for a request that is permitted and parsed."""
        handler: Callable[..., Awaitable[ExportedFile]] = ROUTES[route].handler
        return await handler(self._books_handlers, self._request(holder, path, query, Body()))

    def _request(
        self, holder: TokenHolder, path: Mapping[str, str], query: Asked, body: Body
    ) -> AdminRequest[Asked, Body]:
        reason = body.reason or str(getattr(query, "reason", ""))
        return AdminRequest(
            path=path,
            query=query,
            body=body,
            by=Author(holder.actor, self._now_ms(), reason),
            settings=self._settings,
            team=holder.team,
            key_id=holder.key_id,
            end_user=holder.end_user,
            sees_secrets=holder.role is Role.ADMIN,
        )

    async def _handle(
        self, row: AdminRoute, request: AdminRequest[Query, Body], *, reads: bool
    ) -> ReadModel:
        handler: Callable[..., Awaitable[ReadModel]] = row.handler
        if isinstance(row, CacheRoute):
            return await handler(self._cache_handlers, request)
        if isinstance(row, EndUserRoute):
            return await handler(self._end_user_handlers, request)
        if isinstance(row, BooksRoute):
            return await handler(self._books_handlers, request)
        if isinstance(row, RequestRoute):
            return await handler(self._request_status, request)

        async def operation(tx: Transaction) -> ReadModel:
            return await handler(tx, request)

        if not reads:
            return await self._database.write(operation)
        return await self._read(request.by, operation)

    async def _read(self, by: Author, operation: Operation[Result]) -> Result:
        # A report may read for seconds: the database has readers left for edits and for the keys.
        async with self._turns.of(by.actor), self._reading:
            return await self._database.read(operation)
