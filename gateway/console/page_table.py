"""Every page, one row each: its path, its handler, its entry in the menu, and whom it is for."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gateway.console.page import Page
from gateway.console.pages import (
    budgets,
    front_page,
    keys,
    overview,
    sign_in,
    spend,
    teams,
)

# fmt: off
PAGES: Mapping[str, Page] = MappingProxyType({
    "GET /": Page(front_page.show, public=True),
    "GET /console/sign-in": Page(sign_in.show, public=True),
    "POST /console/sign-in": Page(sign_in.submit, public=True),
    "POST /console/sign-out": Page(sign_in.sign_out, members=True),
    "GET /console": Page(overview.show, "Overview", members=True),
    "GET /console/spend": Page(spend.show, "Spend", needs="GET /usage"),
    "GET /console/spend.csv": Page(spend.download, needs="GET /usage"),
    "GET /console/teams": Page(teams.show, "Teams and keys", needs="GET /keys"),
    "POST /console/teams": Page(teams.create, needs="POST /teams"),
    "GET /console/teams/{name}": Page(teams.show_one, needs="GET /teams/{name}"),
    "POST /console/teams/{name}": Page(teams.update, needs="PATCH /teams/{name}"),
    "POST /console/teams/{name}/pause": Page(teams.pause, needs="POST /pause"),
    "POST /console/teams/{name}/keys": Page(keys.create, needs="POST /keys"),
    "GET /console/keys/{id}": Page(keys.show, needs="GET /keys/{id}"),
    "POST /console/keys/{id}": Page(keys.update, needs="PATCH /keys/{id}"),
    "POST /console/keys/{id}/rotate": Page(keys.rotate, needs="POST /keys/{id}/rotate"),
    "POST /console/keys/{id}/revoke": Page(keys.revoke, needs="DELETE /keys/{id}"),
    "GET /console/budgets": Page(budgets.show, "Budgets", needs="GET /budgets"),
    "POST /console/budgets/grant": Page(budgets.grant, needs="POST /budgets/grants"),
    "POST /console/budgets/revoke": Page(budgets.revoke, needs="DELETE /budgets/grants/{id}"),
    "POST /console/budgets/ask": Page(budgets.ask, needs="POST /budgets/requests"),
})
# fmt: on
