"""Handles `/admin/v1`: authenticates, checks the role, parses, runs the route.

Only then is anything read or changed.
"""

from __future__ import annotations

import asyncio

from starlette.exceptions import HTTPException

from gateway.api.admin.authentication import AdminAuthenticator
from gateway.api.admin.books import BOUNDS, ExportedFile
from gateway.api.admin.calls import AdminCalls
from gateway.api.admin.inputs import Body
from gateway.api.admin.request_input import body_of, bytes_of, query_of
from gateway.api.admin.routes import PATHS, ROUTES, ExportRoute, StatementRoute
from gateway.api.admin.token_holder import Role, check_role
from gateway.api.responses import Endpoint, accepts_csv, answer_json
from gateway.model.errors import Refusal
from gateway.runtime.process_context import ProcessContext
from gateway.server.exchange import ClientDisconnected, Exchange

PREFIX = "/admin/v1"
_CSV = {"content-type": "text/csv; charset=utf-8", "cache-control": "no-store"}


class AdminApi:
    """Answers requests to `/admin/v1`."""

    def __init__(self, context: ProcessContext, calls: AdminCalls) -> None:
        root = context.settings.admin.token.get_secret_value()
        self._authenticator = AdminAuthenticator(root, context.database, context.log, context.clock)
        self._calls, self._on_failure = calls, context.on_failure

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
            asked = holder, route, exchange.path_parameters, query
            if isinstance(row, ExportRoute):
                await self._send(exchange, await self._calls.download(*asked))
                return
            body, upload = Body(), b""
            if isinstance(row, StatementRoute):
                upload = await _statement(exchange)
            elif method != "GET":
                body = await body_of(exchange.chunks(), row.body)
            csv = row.csv if accepts_csv(exchange) else None
            view = await self._calls.run(*asked, body, upload=upload, wants_csv=bool(csv))
            if csv:
                text = await asyncio.to_thread(csv, view, query)
                await exchange.answer(row.status, _CSV, text.encode())
                return
            # The answer to a change may hold a new secret, and any is out of date in a moment.
            await answer_json(
                exchange,
                await asyncio.to_thread(view.document),
                row.status,
                {"cache-control": "no-store"},
                secret=method != "GET" or (row.secrets and holder.role is Role.ADMIN),
            )

        return handle

    async def not_found(self, exchange: Exchange) -> None:
        """Refuses a path below /admin that is none of PATHS."""
        await self._authenticator.authenticate(exchange)
        raise Refusal(
            "not_found",
            f"There is nothing here. Below {PREFIX} there are {', '.join(PATHS)}.",
        )

    async def _send(self, exchange: Exchange, download: ExportedFile) -> None:
        """Send a file. An answer that fails once it has begun is left unfinished."""
        try:
            await download.send(exchange)
        except ClientDisconnected:
            raise
        except Exception as error:
            if not exchange.started:
                raise
            self._on_failure("export", error)


async def _statement(exchange: Exchange) -> bytes:
    """The uploaded statement. Raises `unsupported_media_type`, `body_too_large`."""
    if exchange.headers.get("content-type", "").lower().startswith("multipart/"):
        raise Refusal(
            "unsupported_media_type",
            "Send the statement itself as the body, not as part of a form: curl --data-binary "
            "@FILE.",
        )
    return await bytes_of(exchange.chunks(), BOUNDS.file_bytes)
