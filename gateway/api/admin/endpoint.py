"""Handles `/admin/v1`: authenticates, checks the role, parses, runs the route's handler.

Only then is anything read or changed, in the state in one transaction.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping

from starlette.exceptions import HTTPException

from gateway.accounts.rules import errors
from gateway.accounts.tables.audit import Author
from gateway.api.admin.authentication import AdminAuthenticator
from gateway.api.admin.cache import CacheHandlers
from gateway.api.admin.inputs import Body, Query
from gateway.api.admin.permissions import Role, TokenHolder, check_role
from gateway.api.admin.request_input import AdminRequest, body_of, query_of
from gateway.api.admin.routes import PATHS, ROUTES, CacheRoute
from gateway.cache.result_store import ResultStore, StoreUnavailable
from gateway.database.database import (
    CommitUnknown,
    Conflict,
    Database,
    StateUnavailable,
    Transaction,
)
from gateway.model.errors import Refusal
from gateway.queries.cache_admin import CacheAdmin
from gateway.queries.models.read_model import ReadModel
from gateway.server.exchange import Exchange
from gateway.settings import Settings
from gateway.telemetry.log import EventLog

PREFIX = "/admin/v1"


class AdminApi:
    """Answers requests to `/admin/v1`."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        results: ResultStore,
        now_ms: Callable[[], int],
        log: EventLog,
    ) -> None:
        self._settings = settings
        self._database = database
        root = settings.admin.token.get_secret_value()
        self._authenticator = AdminAuthenticator(root, database, log, now_ms)
        self._cache_handlers = CacheHandlers(CacheAdmin(settings, database, results))
        self._now_ms = now_ms

    async def close(self) -> None:
        """Cancel the background jobs; before the results are closed."""
        await self._cache_handlers.close()

    async def answer(
        self, path: str, exchange: Exchange, parameters: Mapping[str, str]
    ) -> tuple[int, ReadModel]:
        """The status and the answer of a request to one of PATHS. Raises Refusal."""
        holder = await self._authenticate(exchange)
        route = _route(path, exchange.method)
        row = ROUTES[route]
        check_role(holder, row.roles, route)
        query = query_of(exchange.query, row.query)
        body = Body() if _reads(route) else await body_of(exchange.chunks(), row.body)
        reason = body.reason or str(getattr(query, "reason", ""))
        request = AdminRequest(
            path=parameters,
            query=query,
            body=body,
            by=Author(holder.actor, self._now_ms(), reason),
            settings=self._settings,
            team=holder.team,
            sees_secrets=holder.role is Role.ADMIN,
        )
        return row.status, await self._run(route, request)

    async def not_found(self, exchange: Exchange) -> None:
        """Refuses a path below /admin that is none of PATHS."""
        await self._authenticate(exchange)
        raise Refusal(
            "not_found",
            f"There is nothing here. Below {PREFIX} there are {', '.join(PATHS)}.",
        )

    async def _authenticate(self, exchange: Exchange) -> TokenHolder:
        with _as_refusals():
            return await self._authenticator.authenticate(exchange)

    async def _run(self, route: str, request: AdminRequest[Query, Body]) -> ReadModel:
        row = ROUTES[route]
        if isinstance(row, CacheRoute):
            with _as_refusals():
                return await row.handler(self._cache_handlers, request)

        async def operation(tx: Transaction) -> ReadModel:
            return await row.handler(tx, request)

        run: Callable[..., Awaitable[ReadModel]] = (
            self._database.read if _reads(route) else self._database.write
        )
        with _as_refusals():
            return await run(operation)


def _reads(route: str) -> bool:
    return route.startswith("GET ")


def _route(path: str, method: str) -> str:
    """The row of ROUTES. Raises the framework's 405 with the methods of the path."""
    wanted = "GET" if method == "HEAD" else method
    if wanted not in PATHS[path]:
        raise HTTPException(405, headers={"Allow": ", ".join(PATHS[path])})
    return f"{wanted} {path}"


_CODES: Mapping[type[errors.AccountError], str] = {
    errors.NotFound: "not_found",
    errors.AlreadyExists: "conflict",
    errors.AccountEnded: "conflict",
    errors.BadValue: "invalid_field",
}


@contextlib.contextmanager
def _as_refusals() -> Iterator[None]:
    """Turns the errors of the accounts, the state and the results into refusals."""
    try:
        yield
    except errors.AccountError as error:
        raise Refusal(_CODES[type(error)], error.message, param=error.param) from None
    except Conflict:
        raise Refusal(
            "conflict", "Another request has just added the same. Read it and decide again."
        ) from None
    except CommitUnknown:
        raise Refusal(
            "state_unavailable",
            "The connection to the database failed during the commit: the change may or may not "
            "have been made. Check, then try again.",
        ) from None
    except StateUnavailable:
        raise Refusal(
            "state_unavailable", "The database can't be reached; nothing was changed. Try again."
        ) from None
    except StoreUnavailable as error:
        raise Refusal(
            "results_unavailable",
            f"The stored results are not available now ({error}). Edits still work, without the "
            "cache where it can't be read. Try again.",
        ) from None
