"""Every page, one row each: its path, its handler, its entry in the menu, and whom it is for."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gateway.console.page import WebPage
from gateway.console.pages import (
    books,
    budgets,
    files,
    front_page,
    key_overview,
    keys,
    operations,
    organisation,
    overview,
    pictures,
    requests,
    sign_in,
    spend,
    sso,
    teams,
    try_it,
    versions,
)

# fmt: off
PAGES: Mapping[str, WebPage] = MappingProxyType({
    "GET /": WebPage(front_page.show, public=True),
    "GET /console/sign-in": WebPage(sign_in.show, public=True),
    "POST /console/sign-in": WebPage(sign_in.submit, public=True),
    "GET /console/sso": WebPage(sso.begin, public=True),
    "GET /console/sso/back": WebPage(sso.finish, public=True),
    "POST /console/sign-out": WebPage(sign_in.sign_out, members=True),
    "GET /console": WebPage(overview.show, "Overview", members=True),
    "POST /console/ask": WebPage(key_overview.ask, members=True),
    "GET /console/spend": WebPage(spend.show, "Spend", needs="GET /usage"),
    "GET /console/spend.csv": WebPage(spend.download, needs="GET /usage"),
    "GET /console/teams": WebPage(teams.show, "Teams and keys", needs="GET /keys"),
    "POST /console/teams": WebPage(teams.create, needs="POST /teams"),
    "GET /console/teams/{name}": WebPage(teams.show_one, needs="GET /teams/{name}"),
    "POST /console/teams/{name}": WebPage(teams.update, needs="PATCH /teams/{name}"),
    "POST /console/teams/{name}/pause": WebPage(teams.pause, needs="POST /pause"),
    "POST /console/teams/{name}/archive": WebPage(teams.archive, needs="DELETE /teams/{name}"),
    "POST /console/teams/{name}/keys": WebPage(keys.create, needs="POST /keys"),
    "GET /console/organisation": WebPage(organisation.show, needs="GET /organisation"),
    "POST /console/organisation": WebPage(organisation.update, needs="PATCH /organisation"),
    "POST /console/organisation/pause": WebPage(organisation.pause, needs="POST /pause"),
    "GET /console/keys/{id}": WebPage(keys.show, needs="GET /keys/{id}"),
    "POST /console/keys/{id}": WebPage(keys.update, needs="PATCH /keys/{id}"),
    "POST /console/keys/{id}/rotate": WebPage(keys.rotate, needs="POST /keys/{id}/rotate"),
    "POST /console/keys/{id}/revoke": WebPage(keys.revoke, needs="DELETE /keys/{id}"),
    "GET /console/requests": WebPage(
        requests.show, "Requests", needs="GET /requests", members=True),
    "GET /console/requests/{id}": WebPage(
        requests.show_one, needs="GET /requests/{id}", members=True),
    "GET /console/budgets": WebPage(budgets.show, "Budgets", needs="GET /budgets"),
    "POST /console/budgets/grant": WebPage(budgets.grant, needs="POST /budgets/grants"),
    "POST /console/budgets/revoke": WebPage(budgets.revoke, needs="DELETE /budgets/grants/{id}"),
    "POST /console/budgets/ask": WebPage(budgets.ask, needs="POST /budgets/requests"),
    "GET /console/try": WebPage(try_it.show, "Try it", needs="POST /keys", members=True),
    "POST /console/try": WebPage(try_it.submit, needs="POST /keys", members=True),
    "POST /console/try/quote": WebPage(try_it.quote, needs="POST /keys", members=True),
    "POST /console/try/edits": WebPage(try_it.send, needs="POST /keys", members=True),
    "GET /console/files/{id}": WebPage(files.show, members=True),
    "GET /console/thumbnails/{id}": WebPage(files.show_thumbnail, members=True),
    "GET /console/pictures": WebPage(
        pictures.show, "Pictures", needs="POST /cache/purge", members=True),
    "GET /console/pictures/{fingerprint}": WebPage(
        pictures.show_one, needs="POST /cache/purge", members=True),
    "POST /console/pictures/{fingerprint}/version": WebPage(
        versions.quote, needs="POST /cache/purge", members=True),
    "POST /console/pictures/{fingerprint}/version/buy": WebPage(
        versions.buy, needs="POST /cache/purge", members=True),
    "POST /console/pictures/{fingerprint}/share": WebPage(
        pictures.share, needs="POST /cache/purge"),
    "POST /console/pictures/{fingerprint}/purge": WebPage(
        pictures.purge, needs="POST /cache/purge"),
    "GET /console/books": WebPage(books.show, "Books", needs="GET /ledger/closings"),
    "POST /console/books/reconcile": WebPage(books.reconcile, needs="POST /ledger/reconcile"),
    "POST /console/books/correct": WebPage(books.correct, needs="POST /ledger/corrections"),
    "POST /console/books/close": WebPage(books.close, needs="POST /ledger/closings"),
    "POST /console/books/undo": WebPage(books.undo, needs="POST /ledger/batches/{id}/undo"),
    "GET /console/books/export.file": WebPage(books.export, needs="GET /ledger/export"),
    "GET /console/operations": WebPage(operations.show, "Operations", needs="GET /prices"),
    "POST /console/operations/prices": WebPage(
        operations.confirm_price, needs="POST /prices/confirm"),
    "POST /console/operations/sign-out": WebPage(
        operations.sign_out, needs="DELETE /tokens/{id}"),
    "GET /console/operations/audit": WebPage(operations.show_audit, needs="GET /audit"),
    "GET /console/operations/settings": WebPage(operations.show_settings, needs="GET /audit"),
})
# fmt: on
