"""The routes of `/admin/v1`, one row each: handler, roles, inputs, answer, and description.

A `StateRoute` is one transaction: a read for GET, else a write with its row of the audit. A
`ResultsRoute` works on the results, which lie outside the state.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from gateway.api.admin import accounts, budgets, keys, ledger, requests, tokens
from gateway.api.admin import inputs as take
from gateway.api.admin.books import BooksHandlers, reconciliation_csv
from gateway.api.admin.cache import CacheHandlers
from gateway.api.admin.end_users import EndUserHandlers
from gateway.api.admin.inputs import Body, Query, with_settings
from gateway.api.admin.pagination import Page
from gateway.api.admin.token_holder import Role
from gateway.queries.models import accounts as views
from gateway.queries.models import budgets as budget_views
from gateway.queries.models import cache as cache_views
from gateway.queries.models import end_users as user_views
from gateway.queries.models import ledger as ledger_views
from gateway.queries.models import request_status as request_views
from gateway.queries.models import statements as statement_views
from gateway.queries.models.usage import UsageView

Roles = tuple[Role, ...]


@dataclass(frozen=True, slots=True)
class AdminRoute:
    """One method of one path.

    `name` and `summary` describe it, `codes` are its refusals besides those that any route may
    have. `status` is that of success. `csv(answer, query)` is the answer for `Accept: text/csv`.
    """

    name: str
    summary: str
    handler: Callable[..., Awaitable[Any]]
    answer: Any
    roles: Roles
    query: type[Query] = Query
    body: type[Body] = Body
    codes: tuple[str, ...] = ()
    status: int = 200
    secrets: bool = False
    csv: Callable[..., str] | None = None


@dataclass(frozen=True, slots=True)
class StateRoute(AdminRoute):
    """`handler(transaction, request)` reads or changes the state. Raises Refusal, AccountError."""


@dataclass(frozen=True, slots=True)
class ResultsRoute(AdminRoute):
    """Works on the stored results, which lie outside the state."""


@dataclass(frozen=True, slots=True)
class CacheRoute(ResultsRoute):
    """`handler(cache handlers, request)`."""


@dataclass(frozen=True, slots=True)
class EndUserRoute(ResultsRoute):
    """`handler(end user handlers, request)`."""


@dataclass(frozen=True, slots=True)
class BooksRoute(AdminRoute):
    """`handler(books handlers, request)` works on the ledger, in several transactions."""


@dataclass(frozen=True, slots=True)
class StatementRoute(BooksRoute):
    """Its body is a statement, and not JSON."""


@dataclass(frozen=True, slots=True)
class ExportRoute(BooksRoute):
    """Its answer is a file."""


@dataclass(frozen=True, slots=True)
class RequestRoute(AdminRoute):
    """`handler(request status, request)` reads the state, and what this process knows."""


_ADMIN: Roles = (Role.ADMIN,)
_FINANCE: Roles = (Role.ADMIN, Role.FINANCE)
_TEAM: Roles = (Role.ADMIN, Role.TEAM)
_ALL: Roles = (Role.ADMIN, Role.FINANCE, Role.TEAM)
_MEMBERS: Roles = (*_ALL, Role.MEMBER)
_MISSING, _UNKNOWN = ("missing_field",), ("not_found",)
_BOTH = (*_MISSING, *_UNKNOWN)

# fmt: off
ROUTES: Mapping[str, AdminRoute] = MappingProxyType({
    "GET /organisation": StateRoute(
        "showOrganisation", "The organisation", accounts.show_organisation,
        views.OrganisationView, _FINANCE, secrets=True),
    "PATCH /organisation": StateRoute(
        "updateOrganisation", "Change its terms", accounts.update_organisation,
        views.OrganisationView, _ADMIN, body=with_settings(take.SettingsBody, "organisation")),
    "GET /teams": StateRoute(
        "listTeams", "The teams", accounts.list_teams,
        Page[views.TeamView], _FINANCE, take.TeamsQuery, secrets=True),
    "POST /teams": StateRoute(
        "createTeam", "A new team", accounts.create_team,
        views.TeamView, _ADMIN, body=with_settings(take.NewTeamBody, "team"), codes=_MISSING,
        status=201),
    "GET /teams/{name}": StateRoute(
        "showTeam", "A team", accounts.show_team, views.TeamView, _ALL, codes=_UNKNOWN,
        secrets=True),
    "PATCH /teams/{name}": StateRoute(
        "updateTeam", "Change its terms", accounts.update_team,
        views.TeamView, _ADMIN, body=with_settings(take.SettingsBody, "team"), codes=_UNKNOWN),
    "DELETE /teams/{name}": StateRoute(
        "archiveTeam", "Archive a team", accounts.archive_team,
        views.TeamView, _ADMIN, take.ReasonQuery, codes=_UNKNOWN),
    "GET /keys": StateRoute(
        "listKeys", "The keys", keys.list_keys,
        Page[views.KeyView], _ALL, take.KeysQuery, codes=_UNKNOWN),
    "POST /keys": StateRoute(
        "createKey", "A new key", keys.create_key,
        views.NewKeyView, _TEAM, body=with_settings(take.NewKeyBody, "key"), codes=_BOTH,
        status=201),
    "GET /keys/{id}": StateRoute(
        "showKey", "A key", keys.show_key, views.KeyView, _ALL, codes=_UNKNOWN),
    "PATCH /keys/{id}": StateRoute(
        "updateKey", "Change its terms", keys.update_key,
        views.KeyView, _TEAM, body=with_settings(take.SettingsBody, "key"), codes=_UNKNOWN),
    "DELETE /keys/{id}": StateRoute(
        "revokeKey", "Revoke a key", keys.revoke_key,
        views.KeyView, _TEAM, take.ReasonQuery, codes=_UNKNOWN),
    "POST /keys/{id}/rotate": StateRoute(
        "rotateKey", "Give it a new secret", keys.rotate_key,
        views.NewKeyView, _TEAM, body=take.RotationBody, codes=_UNKNOWN),
    "GET /tokens": StateRoute(
        "listTokens", "The admin tokens", tokens.list_tokens,
        Page[views.TokenView], _FINANCE, take.TokensQuery),
    "POST /tokens": StateRoute(
        "createToken", "A new admin token", tokens.create_token,
        views.NewTokenView, _ADMIN, body=take.NewTokenBody, codes=_BOTH, status=201),
    "DELETE /tokens/{id}": StateRoute(
        "revokeToken", "Revoke an admin token", tokens.revoke_token,
        views.TokenView, _ADMIN, take.ReasonQuery, codes=_UNKNOWN),
    "GET /budgets": StateRoute(
        "listBudgets", "Every budget: spent, held, left, forecast", budgets.list_budgets,
        Page[budget_views.BudgetView], _ALL, take.BudgetsQuery, codes=_UNKNOWN),
    "GET /budgets/grants": StateRoute(
        "listGrants", "Grants, and the open requests for one", budgets.list_grants,
        Page[budget_views.GrantView], _ALL, take.GrantsQuery, codes=_UNKNOWN),
    "POST /budgets/grants": StateRoute(
        "grantBudget", "Raise a budget in its current window", budgets.grant,
        budget_views.GrantView, _FINANCE, body=take.GrantBody, codes=_BOTH, status=201),
    "POST /budgets/requests": StateRoute(
        "askForTeamBudget", "Ask for more money on a budget of a team", budgets.ask,
        budget_views.GrantView, _TEAM, body=take.TeamRequestBody, codes=_BOTH, status=201),
    "DELETE /budgets/grants/{id}": StateRoute(
        "revokeGrant", "End a grant, or decline a request", budgets.revoke,
        budget_views.GrantView, _FINANCE, take.ReasonQuery, codes=_UNKNOWN),
    "POST /pause": StateRoute(
        "pause", "Stop the purchases of a team, or all", accounts.pause,
        views.OrganisationView | views.TeamView, _ADMIN, body=take.PauseBody, codes=_UNKNOWN),
    "POST /resume": StateRoute(
        "resume", "Allow purchases again", accounts.resume,
        views.OrganisationView | views.TeamView, _ADMIN, body=take.PauseBody, codes=_UNKNOWN),
    "GET /audit": StateRoute(
        "listChanges", "Who changed what, when and why", tokens.list_audit,
        Page[views.ChangeView], _FINANCE, take.AuditQuery),
    "GET /usage": StateRoute(
        "showUsage", "Requests and money, grouped", ledger.usage,
        UsageView, _ALL, take.UsageQuery, codes=_UNKNOWN, csv=ledger.usage_csv),
    "GET /requests": StateRoute(
        "listRequests", "Requests that have ended, newest first", requests.list_of_requests,
        Page[request_views.RequestLineView], _MEMBERS, take.RequestsQuery, codes=_UNKNOWN),
    "GET /requests/{id}": RequestRoute(
        "showAnyRequest", "What became of a request, and whether a retry is safe",
        requests.show_request, request_views.RequestDetailView, _MEMBERS, codes=_UNKNOWN),
    "GET /ledger": StateRoute(
        "listLedger", "Every upstream call", ledger.ledger,
        Page[ledger_views.LedgerRowView], _ALL, take.LedgerQuery, codes=_UNKNOWN),
    "GET /ledger/verify": StateRoute(
        "verifyLedger", "Compare balances and reports with the ledger", ledger.verify,
        ledger_views.VerificationView, _FINANCE),
    "GET /ledger/unresolved": StateRoute(
        "listUnresolved", "The open reservations", ledger.unresolved,
        Page[ledger_views.ReservationView], _FINANCE, take.PageQuery),
    "GET /ledger/closings": StateRoute(
        "listClosedMonths", "The closed months", ledger.closings,
        Page[ledger_views.ClosedMonthView], _FINANCE, take.PageQuery),
    "POST /ledger/resolve": StateRoute(
        "resolveLedger", "Settle the reservations of dead processes", ledger.resolve,
        ledger_views.ResolutionView, _ADMIN),
    "POST /ledger/corrections": StateRoute(
        "correctLedger", "Correct the cost of a request", ledger.correct,
        ledger_views.CorrectionView, _FINANCE, body=take.CorrectionBody, codes=_BOTH),
    "GET /ledger/export": ExportRoute(
        "exportLedger", "The rows of days as a file", BooksHandlers.export,
        str, _FINANCE, take.ExportQuery),
    "POST /ledger/reconcile": StatementRoute(
        "reconcileLedger", "Compare a statement with the ledger; with `confirm`, book a preview",
        BooksHandlers.reconcile, statement_views.ReconciliationView, _FINANCE, take.ReconcileQuery,
        codes=("unsupported_media_type",), csv=reconciliation_csv),
    "POST /ledger/closings": BooksRoute(
        "closeMonth", "Close a month: nothing more is booked in it", BooksHandlers.close_month,
        ledger_views.ClosedMonthView, _FINANCE, body=take.ClosingBody, codes=_MISSING),
    "GET /ledger/batches": StateRoute(
        "listBatches", "What was booked together, the latest first", ledger.batches,
        Page[ledger_views.BatchView], _FINANCE, take.PageQuery),
    "POST /ledger/batches/{id}/undo": BooksRoute(
        "undoBatch", "Take back what a batch booked", BooksHandlers.undo,
        ledger_views.UndoView, _FINANCE, body=take.UndoBody, codes=_UNKNOWN),
    "GET /prices": StateRoute(
        "listPrices", "The models that were stopped for an odd price, or confirmed",
        ledger.list_prices, Page[ledger_views.PriceStatusView], _FINANCE, take.PageQuery),
    "POST /prices/confirm": StateRoute(
        "confirmPrice", "Confirm a model's price, and allow its calls again", ledger.confirm_price,
        ledger_views.PriceView, _ADMIN, body=take.PriceBody, codes=_MISSING),
    "GET /cache": CacheRoute(
        "showCache", "What is stored, and what it saved", CacheHandlers.statistics,
        cache_views.CacheView | cache_views.UnfinishedCacheView, _ALL, take.TeamQuery,
        codes=_UNKNOWN),
    "POST /cache/purge": CacheRoute(
        "purgeCache", "Delete stored results", CacheHandlers.purge,
        cache_views.PurgeView | cache_views.UnfinishedPurgeView, _TEAM, body=take.PurgeBody,
        codes=_BOTH),
    "POST /cache/verify": CacheRoute(
        "verifyCache", "Check the digest of every stored result", CacheHandlers.verify,
        cache_views.CacheVerificationView | cache_views.UnfinishedCacheVerificationView, _ADMIN),
    "POST /users/show": EndUserRoute(
        "showEndUser", "What is kept of an end user", EndUserHandlers.show,
        user_views.EndUserView | user_views.UnfinishedUserView, _ALL, body=take.EndUserBody,
        codes=_MISSING),
    "POST /users/forget": EndUserRoute(
        "forgetEndUser", "Delete what was bought for an end user, and forget the name",
        EndUserHandlers.forget, user_views.ForgottenUserView | user_views.UnfinishedUserView,
        _TEAM, body=take.ForgetBody, codes=_MISSING),
})
# fmt: on


def _by_path() -> Mapping[str, tuple[str, ...]]:
    methods: dict[str, tuple[str, ...]] = {}
    for route in ROUTES:
        method, path = route.split()
        methods[path] = (*methods.get(path, ()), method)
    return MappingProxyType(methods)


PATHS = _by_path()
"""Every path below `/admin/v1`, with its methods."""
