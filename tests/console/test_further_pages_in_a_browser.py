"""Pages that a link of a list or a form leads to, and each role's: 360 pixels, and axe-core."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import FilePayload, Page

from tests.api.admin.api_client import ROOT_TOKEN, fresh
from tests.console.browsing import NARROW, Browsing, overflow, serious_faults
from tests.console.planted import OWN_KEY, VAULT, Planted
from tests.support.serving import Running

BILL = b"request_id,time,cost_usd\nno-such,2026-11-25T12:00:00Z,1.00\n"
Open = Callable[[Page, Planted], None]


@pytest.fixture(scope="module")
def served(planted: Planted) -> Running:
    """What `browse` opens."""
    return planted.served


def go(page: Page, planted: Planted, path: str) -> None:
    page.goto(f"{planted.served.url}{planted.fill(path)}")


def a_request(page: Page, planted: Planted) -> None:
    go(page, planted, "/console/requests/{id}")


def a_preview(page: Page, planted: Planted) -> None:
    go(page, planted, "/console/books")
    bill = FilePayload(name="bill.csv", mimeType="text/csv", buffer=BILL)
    page.set_input_files("#f-statement", bill)
    page.fill("#f-period", "2026-11")
    page.get_by_role("button", name="Preview").click()


def taking_back(page: Page, planted: Planted) -> None:
    go(page, planted, "/console/books")
    page.get_by_role("button", name="Undo …").first.click()


def another_version(page: Page, planted: Planted) -> None:
    go(page, planted, "/console/pictures/{fingerprint}")
    page.get_by_role("button", name="Another version").click()


def versions(page: Page, planted: Planted) -> None:
    another_version(page, planted)
    page.get_by_role("button", name="Buy this version").click()


def a_new_key(page: Page, planted: Planted) -> None:
    go(page, planted, "/console/teams/{name}")
    page.fill("#f-name", fresh("made"))
    page.get_by_role("button", name="Make the key").click()


def a_key(page: Page, planted: Planted) -> None:
    go(page, planted, "/console/keys/{id}")


@pytest.mark.parametrize(
    ("open_it", "heading"),
    [(a_request, "Request"), (a_preview, "Preview"), (taking_back, "Take back what was booked"),
     (versions, "'><img"), (a_key, VAULT),
     pytest.param(another_version, "'><img", marks=pytest.mark.long),
     pytest.param(a_new_key, "made-", marks=pytest.mark.long)],
)  # fmt: skip
def test_a_page_fits_a_narrow_screen_and_axe_finds_no_serious_fault(
    browse: Browsing, planted: Planted, open_it: Open, heading: str
) -> None:
    page = browse("/console", ROOT_TOKEN, width=NARROW)
    open_it(page, planted)

    assert heading in page.inner_text("h1")
    assert overflow(page) == 0
    assert serious_faults(page, dark=False) == []


@pytest.mark.parametrize("role", ["finance", "team", "key"])
def test_what_each_role_sees_first_has_no_serious_fault(
    browse: Browsing, planted: Planted, role: str
) -> None:
    secrets = {"team": planted.vault_lead, "key": OWN_KEY}
    if role == "finance":
        made = planted.root.post("/tokens", name=fresh("finance"), role="finance")
        secrets[role] = made["secret"]
    page = browse("/console", secrets[role], width=NARROW)

    assert page.locator("nav a").count() > 3
    assert overflow(page) == 0
    assert serious_faults(page, dark=False) == []
