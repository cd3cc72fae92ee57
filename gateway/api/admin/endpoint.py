"""Handles `/admin/v1`: authenticates, checks the role, parses, runs the route's handler.

Only then is anything read or changed, in the state in one transaction.
"""

from __future__ import annotations

from starlette.exceptions import HTTPException

from gateway.accounts.tables.audit import Author
from gateway.api.admin.authentication import AdminAuthenticator
from gateway.api.admin.cache import CacheHandlers
from gateway.api.admin.end_users import EndUserHandlers
from gateway.api.admin.inputs import Body, Query
from gateway.api.admin.request_input import AdminRequest, body_of, query_of
from gateway.api.admin.routes import PATHS, ROUTES, AdminRoute, CacheRoute, EndUserRoute
from gateway.api.admin.token_holder import Role, check_role
from gateway.api.responses import Endpoint, accepts_csv, answer_json
from gateway.cache.result_store import ResultStore
from gateway.database.database import Transaction
from gateway.model.errors import Refusal
from gateway.queries.cache_admin import CacheAdmin
from gateway.queries.end_user_admin import EndUserAdmin
from gateway.queries.models.read_model import ReadModel
from gateway.runtime.process_context import ProcessContext
from gateway.server.exchange import Exchange

PREFIX = "/admin/v1"
_CSV = {"content-type": "text/csv; charset=utf-8", "cache-control": "no-store"}


class AdminApi:
    """Answers requests to `/admin/v1`."""

    def __init__(self, context: ProcessContext, results: ResultStore) -> None:
        self._settings, self._database = context.settings, context.database
        root = context.settings.admin.token.get_secret_value()
        self._authenticator = AdminAuthenticator(root, context.database, context.log, context.clock)
        self._cache_handlers = CacheHandlers(
            CacheAdmin(context.settings, context.database, results)
        )
        self._end_user_handlers = EndUserHandlers(
            EndUserAdmin(context.settings, context.database, results)
        )
        self._now_ms = context.clock

    async def close(self) -> None:
        """Cancel the background jobs; before the results are closed."""
        await self._cache_handlers.close()
        await self._end_user_handlers.close()

    def endpoint(self, path: str) -> Endpoint:
        """The endpoint of one of PATHS, for all of its methods."""

        async def handle(exchange: Exchange) -> None:
            holder = await self._authenticator.authenticate(exchange)
            method = "GET" if exchange.method == "HEAD" else exchange.method
            route = f"{method} {path}"
            row = ROUTES.get(route)
            if row is None:
                head = ("HEAD",) if "GET" in PATHS[path] else ()
                raise HTTPException(405, headers={"Allow": ", ".join((*PATHS[path], *head))})
            check_role(holder, row.roles, route)
            query = query_of(exchange.query, row.query)
            body = Body() if method == "GET" else await body_of(exchange.chunks(), row.body)
            reason = body.reason or str(getattr(query, "reason", ""))
            request = AdminRequest(
                path=exchange.path_parameters,
                query=query,
                body=body,
                by=Author(holder.actor, self._now_ms(), reason),
                settings=self._settings,
                team=holder.team,
                sees_secrets=holder.role is Role.ADMIN,
            )
            view = await self._run(row, request, reads=method == "GET")
            if row.csv and accepts_csv(exchange):
                await exchange.answer(row.status, _CSV, row.csv(view, query).encode())
                return
            # The answer to a change may hold a new secret, and any is out of date in a moment.
            await answer_json(
                exchange,
                view.document(),
                row.status,
                {"cache-control": "no-store"},
                secret=method != "GET" or (row.secrets and request.sees_secrets),
            )

        return handle

    async def not_found(self, exchange: Exchange) -> None:
        """Refuses a path below /admin that is none of PATHS."""
        await self._authenticator.authenticate(exchange)
        raise Refusal(
            "not_found",
            f"There is nothing here. Below {PREFIX} there are {', '.join(PATHS)}.",
        )

    async def _run(
        self, row: AdminRoute, request: AdminRequest[Query, Body], *, reads: bool
    ) -> ReadModel:
        if isinstance(row, CacheRoute):
            return await row.handler(self._cache_handlers, request)
        if isinstance(row, EndUserRoute):
            return await row.handler(self._end_user_handlers, request)

        async def operation(tx: Transaction) -> ReadModel:
            return await row.handler(tx, request)

        if reads:
            return await self._database.read(operation)
        return await self._database.write(operation)
