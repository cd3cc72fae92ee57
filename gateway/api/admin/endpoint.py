"""The way into `/admin/v1`: whose token is it, may it do this, and then it is done.

The order is: is there an admin API at all, who asks, is there such a route, may they, what
exactly do they ask. Only then is anything read or changed, in the state in one transaction.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping

from starlette.exceptions import HTTPException

from gateway.accounts.rules import errors
from gateway.accounts.rules.field_types import is_text
from gateway.accounts.tables.audit import Author
from gateway.api.admin.authentication import AdminAuthenticator
from gateway.api.admin.cache import CacheHandlers
from gateway.api.admin.permissions import Holder, Role, confinement
from gateway.api.admin.request_input import AdminRequest, Document, document_of, query_of
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
from gateway.queries.cache import Housekeeper
from gateway.queries.serializers import Facts
from gateway.server.exchange import Exchange
from gateway.settings import Settings
from gateway.telemetry.log import EventLog

PREFIX = "/admin/v1"


class AdminApi:
    """Answers what is asked of `/admin/v1`."""

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
        self._cache_handlers = CacheHandlers(Housekeeper(settings, database, results))
        self._now_ms = now_ms

    async def close(self) -> None:
        """Break off what still goes on for somebody who asked; before the results are closed."""
        await self._cache_handlers.close()

    async def answer(
        self, path: str, exchange: Exchange, parameters: Mapping[str, str]
    ) -> tuple[int, Facts]:
        """The status and the document for a request to one of PATHS. Raises Refusal."""
        holder = await self._enter(exchange)
        route = _route(path, exchange.method)
        confined_to = confinement(route, holder)
        query = query_of(exchange.query, ROUTES[route].query)
        document: Document = {}
        if not route.startswith("GET "):
            document = await document_of(exchange.chunks())
        asked = AdminRequest(
            path=parameters,
            query=query,
            document={name: document[name] for name in document if name != "reason"},
            by=Author(holder.actor, self._now_ms(), _reason(document, query)),
            settings=self._settings,
            confined_to=confined_to,
            sees_secrets=holder.role is Role.ADMIN,
        )
        return ROUTES[route].status, await self._run(route, asked)

    async def nothing(self, exchange: Exchange) -> None:
        """A path below /admin that is none of PATHS: always a refusal."""
        await self._enter(exchange)
        raise Refusal(
            "not_found",
            f"There is nothing here. Below {PREFIX} there are {', '.join(PATHS)}.",
        )

    async def _enter(self, exchange: Exchange) -> Holder:
        with _in_our_words():
            return await self._authenticator.enter(exchange)

    async def _run(self, route: str, asked: AdminRequest) -> Facts:
        found = ROUTES[route]
        if isinstance(found, CacheRoute):
            with _in_our_words():
                return await found.handler(self._cache_handlers, asked)

        async def operation(tx: Transaction) -> Facts:
            return await found.handler(tx, asked)

        run: Callable[..., Awaitable[Facts]] = (
            self._database.read if route.startswith("GET ") else self._database.write
        )
        with _in_our_words():
            return await run(operation)


def _route(path: str, method: str) -> str:
    """The row of ROUTES. Raises the framework's 405, which names the methods there are."""
    wanted = "GET" if method == "HEAD" else method
    if wanted not in PATHS[path]:
        raise HTTPException(405, headers={"Allow": ", ".join(PATHS[path])})
    return f"{wanted} {path}"


def _reason(document: Document, query: Mapping[str, str]) -> str:
    reason = document.get("reason")
    if reason is None:
        reason = query.get("reason", "")
    if not isinstance(reason, str) or not is_text(reason):
        raise Refusal("invalid_field", "reason takes one line of text.", param="reason")
    return reason


_CODES: Mapping[type[errors.AccountError], str] = {
    errors.NotFound: "not_found",
    errors.AlreadyExists: "conflict",
    errors.AccountEnded: "conflict",
    errors.BadValue: "invalid_field",
}


@contextlib.contextmanager
def _in_our_words() -> Iterator[None]:
    """What the state and the results refuse, as refusals of ours."""
    try:
        yield
    except errors.AccountError as error:
        raise Refusal(_CODES[type(error)], error.message, param=error.param) from None
    except Conflict:
        raise Refusal("conflict", "Somebody else has just added the same: look again.") from None
    except CommitUnknown:
        raise Refusal(
            "state_unavailable",
            "The database broke off while the change was being written: it may or may not have "
            "been made. Look, or ask again.",
        ) from None
    except StateUnavailable:
        raise Refusal(
            "state_unavailable", "The database can't be reached; nothing was changed. Try again."
        ) from None
    except StoreUnavailable as error:
        raise Refusal(
            "results_unavailable",
            f"The stored results can't be worked on just now ({error}). Edits go on, bought anew "
            "where what is stored can't be read. Try again.",
        ) from None
