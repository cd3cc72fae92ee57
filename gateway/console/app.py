"""The console's routes: each page is checked, answered and sent here.

Where the console answers at all: to this machine, or where `[server] public_url` is set. Elsewhere
its paths are as unknown as they were without it.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute

from gateway.api.admin import AdminCalls
from gateway.api.admin.books import ExportedFile
from gateway.api.app import route_to
from gateway.api.responses import Endpoint, refusal_of
from gateway.api.sandbox import Sandbox
from gateway.console.forms import CSRF, CSRF_HEADER, Form, read_form
from gateway.console.oidc import OidcProvider
from gateway.console.page import (
    Answer,
    Attachment,
    PageRequest,
    Rendered,
    SeeOther,
    SeeProvider,
    SentAlready,
    WebPage,
)
from gateway.console.page_table import PAGES
from gateway.console.picture_form import read_picture_form
from gateway.console.rendering import environment, load_all
from gateway.console.sessions import SESSION_SECONDS, Sessions
from gateway.console.static_files import serve_file
from gateway.console.visitor import Visit
from gateway.gallery.thumbnails import Thumbnails
from gateway.model.errors import Refusal
from gateway.runtime.container import Container
from gateway.server.exchange import ClientDisconnected, Exchange
from gateway.settings import Settings, SettingsError
from gateway.upstream.connections import open_tls

if TYPE_CHECKING:
    from jinja2 import Environment

SIGN_IN, SSO = "/console/sign-in", "/console/sso"
HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "content-security-policy": (
            "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; "
            "frame-ancestors 'none'; form-action 'self'"
        ),
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "referrer-policy": "same-origin",
        "cross-origin-opener-policy": "same-origin",
    }
)


def console_routes(parts: Container, calls: AdminCalls, sandbox: Sandbox) -> Sequence[BaseRoute]:
    """The routes of the console; none where it is switched off."""
    enabled = parts.context.settings.console.enabled
    return Console(parts, calls, sandbox).routes() if enabled else ()


class Console:
    """The pages of one gateway."""

    def __init__(self, parts: Container, calls: AdminCalls, sandbox: Sandbox) -> None:
        self._parts, self._calls, self._sandbox = parts, calls, sandbox
        self._thumbnails = Thumbnails()
        self._public_url = parts.context.settings.server.public_url
        self._sessions = Sessions(
            parts.context,
            parts.authenticator,
            parts.edits.pipeline.pseudonyms,
            _provider(parts.context.settings),
        )
        self._prefix = urlsplit(self._public_url).path
        self._is_secure = self._public_url.startswith("https:")
        self._preloading: asyncio.Future[None] | None = None
        self._rendering = asyncio.Lock()
        """Pages wait for each other: together they would keep edits from the interpreter."""
        self._cookie_name = "__Host-console" if self._is_secure else "console"

    def routes(self) -> Sequence[BaseRoute]:
        by_path: dict[str, list[str]] = {}
        for route in PAGES:
            method, path = route.split()
            by_path.setdefault(path, []).append(method)
        return [
            *(route_to(path, self._endpoint(path), methods) for path, methods in by_path.items()),
            route_to("/console/static/{name}", self._where_answered(serve_file), ["GET"]),
            route_to("/console/{rest:path}", self._where_answered(self._show_missing)),
        ]

    def _where_answered(self, endpoint: Endpoint) -> Endpoint:
        async def handle(exchange: Exchange) -> None:
            if not (self._public_url or exchange.is_of_this_machine):
                raise HTTPException(404)
            await endpoint(exchange)

        return handle

    def _endpoint(self, path: str) -> Endpoint:
        async def handle(exchange: Exchange) -> None:
            method = "GET" if exchange.method == "HEAD" else exchange.method
            await self._guarded(exchange, PAGES[f"{method} {path}"])

        return self._where_answered(handle)

    async def _show_missing(self, exchange: Exchange) -> None:
        await self._guarded(exchange, WebPage(_refuse_missing, public=True))

    async def _guarded(self, exchange: Exchange, page: WebPage) -> None:
        """Answer with the page, or with a page that says why not."""
        visit = Visit("")
        try:
            visit = await self._sessions.visit_of(self._cookie_of(exchange))
            answer = await self._answer(exchange, page, visit)
        except Exception as error:
            refusal = refusal_of(error, exchange)
            if refusal is None:
                raise
            shown = {"title": refusal.status, "message": refusal.message}
            answer = Rendered("refusal.html", shown, refusal.status)
        await self._send(exchange, visit, answer)

    async def _answer(self, exchange: Exchange, page: WebPage, visit: Visit) -> Answer:
        if not page.public:
            if visit.visitor is None:
                again = visit.is_person and exchange.method == "GET"
                page_of_sign_in = SSO if again else SIGN_IN
                back = quote(self._path_back(exchange), safe="")
                return SeeOther(f"{page_of_sign_in}?next={back}")
            if not page.is_for(visit.visitor):
                raise Refusal(
                    "permission_denied",
                    f"{visit.visitor.name} may not see this page: ask an administrator of the "
                    "gateway for a token that may.",
                )
        form, pictures = Form(), None
        if exchange.method == "POST":
            form, pictures = await self._form(exchange, visit)
        request = PageRequest(
            exchange=exchange,
            parts=self._parts,
            calls=self._calls,
            sandbox=self._sandbox,
            sessions=self._sessions,
            visit=visit,
            base_url=self._base_url(exchange),
            thumbnails=self._thumbnails,
            form=form,
            pictures=pictures,
        )
        return await page.handler(request)

    async def _form(
        self, exchange: Exchange, visit: Visit
    ) -> tuple[Form, AsyncIterator[bytes] | None]:
        """The form, once it is proven to be of a page that this browser was given."""
        form, pictures = Form(), None
        kind = exchange.headers.get("content-type", "")
        if kind.startswith("application/x-www-form-urlencoded"):
            form = await read_form(exchange)
        elif kind.startswith("multipart/form-data"):
            form, pictures = await read_picture_form(exchange.chunks())
        if not visit.owns(exchange.headers.get(CSRF_HEADER) or form.values.get(CSRF, "")):
            raise Refusal(
                "permission_denied",
                "This form is not of a page that this browser was given, or its session has "
                "ended: go back, reload the page and send the form again.",
            )
        return form, pictures

    async def _send(self, exchange: Exchange, visit: Visit, answer: Answer) -> None:
        headers = dict(HEADERS)
        if isinstance(answer, SeeOther | SeeProvider | Rendered) and answer.cookie:
            headers["set-cookie"] = self._set_cookie(answer.cookie)
        match answer:
            case SentAlready():
                return
            case ExportedFile():
                await self._send_export(
                    exchange, replace(answer, headers={**headers, **answer.headers})
                )
            case SeeOther(path=path):
                headers["location"] = self._link(path)
                await exchange.answer(303, headers, b"")
            case SeeProvider(url=url):
                headers["location"] = url
                await exchange.answer(303, headers, b"")
            case Attachment(body=body, content_type=content_type, file_name=name):
                headers["content-type"] = content_type
                headers["content-disposition"] = f'attachment; filename="{name}"'
                await exchange.answer(200, headers, body)
            case Rendered(template=template, values=values, status=status):
                headers["content-type"] = "text/html; charset=utf-8"
                async with self._rendering:
                    page = await asyncio.to_thread(self._render, template, values, exchange, visit)
                await exchange.answer(status, headers, page.encode())
                self._preload()

    async def _send_export(self, exchange: Exchange, file: ExportedFile) -> None:
        """Send a file as it grows. One that fails once it has begun is left unfinished."""
        try:
            await file.send(exchange)
        except ClientDisconnected:
            raise
        except Exception as error:
            if not exchange.started:
                raise
            self._parts.context.on_failure("export", error)

    def _preload(self) -> None:
        """After the first page, load every template, so that no other page is slow."""
        if self._preloading is None:
            self._preloading = asyncio.ensure_future(asyncio.to_thread(load_all, self._templates))

    def _render(
        self, template: str, values: Mapping[str, Any], exchange: Exchange, visit: Visit
    ) -> str:
        visitor = visit.visitor
        menu = [
            (page.menu, route.split()[1])
            for route, page in PAGES.items()
            if page.menu and visitor and page.is_for(visitor)
        ]
        shared = {
            "visitor": visitor,
            "csrf": visit.csrf,
            "menu": menu,
            "here": exchange.path,
            "form": Form(),
        }
        return self._templates.get_template(template).render({**shared, **values})

    @functools.cached_property
    def _templates(self) -> Environment:
        return environment(self._parts.context.settings.zone, self._link)

    def _link(self, path: str) -> str:
        """The address of a path behind the proxy that `public_url` names."""
        return f"{self._prefix}{path}"

    def _base_url(self, exchange: Exchange) -> str:
        """The URL by which clients reach the gateway."""
        return self._public_url or f"http://{exchange.headers.get('host', '')}"

    def _cookie_of(self, exchange: Exchange) -> str:
        for pair in exchange.headers.get("cookie", "").split(";"):
            name, _, value = pair.strip().partition("=")
            if name == self._cookie_name:
                return value
        return ""

    def _set_cookie(self, value: str) -> str:
        secure = "; Secure" if self._is_secure else ""
        return (
            f"{self._cookie_name}={value}; Path=/; Max-Age={SESSION_SECONDS}; HttpOnly; "
            f"SameSite=Lax{secure}"
        )

    def _path_back(self, exchange: Exchange) -> str:
        """Where to go on after signing in."""
        query = f"?{exchange.query}" if exchange.query else ""
        return f"{exchange.path}{query}" if exchange.method == "GET" else "/console"


def _provider(settings: Settings) -> OidcProvider | None:
    """The provider of single sign-on, if there is one. Raises SettingsError."""
    if not settings.sso.issuer:
        return None
    if find_spec("authlib") is None:
        raise SettingsError(
            "[sso] issuer: single sign-on needs the extra: pip install 'image-edit-gateway[sso]'"
        )
    back = f"{settings.server.public_url}{SSO}/back"
    return OidcProvider(settings.sso, back, open_tls(settings.sso.ca_bundle))


async def _refuse_missing(request: PageRequest) -> Answer:
    raise Refusal("not_found", "The console has no such page; the menu has all.")
