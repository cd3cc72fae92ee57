"""Every page, one row each: its path, its handler, its entry in the menu, and whom it is for."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gateway.console.page import Page
from gateway.console.pages import front_page, overview, sign_in, spend

# fmt: off
PAGES: Mapping[str, Page] = MappingProxyType({
    "GET /": Page(front_page.show, public=True),
    "GET /console/sign-in": Page(sign_in.show, public=True),
    "POST /console/sign-in": Page(sign_in.submit, public=True),
    "POST /console/sign-out": Page(sign_in.sign_out, members=True),
    "GET /console": Page(overview.show, "Overview", members=True),
    "GET /console/spend": Page(spend.show, "Spend", needs="GET /usage"),
    "GET /console/spend.csv": Page(spend.download, needs="GET /usage"),
})
# fmt: on
