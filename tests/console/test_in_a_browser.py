"""Every page in Chromium: no error, no other host, 360 pixels, keyboard, no script, axe-core."""

from __future__ import annotations

import re

import pytest

from gateway.console.page_table import PAGES
from tests.api.admin.api_client import ROOT_TOKEN
from tests.console.browsing import NARROW, Browsing, overflow, serious_faults
from tests.support.serving import KEY

SHOWN = [route.split()[1] for route in PAGES if re.fullmatch(r"GET [^{.]+", route)]
OF_MEMBERS = [path for path in SHOWN if PAGES[f"GET {path}"].members]
VISITS = [
    *((path, ROOT_TOKEN) for path in SHOWN if not PAGES[f"GET {path}"].public),
    *((path, KEY) for path in OF_MEMBERS),
    ("/console/teams/design", ROOT_TOKEN),
    ("/console/sign-in", None),
    ("/", KEY),
]
IDS = [f"{path}-{(secret or 'nobody')[:4]}" for path, secret in VISITS]


@pytest.mark.parametrize(("path", "secret"), VISITS, ids=IDS)
def test_a_page_fits_a_narrow_screen_and_axe_finds_no_serious_fault(
    browse: Browsing, path: str, secret: str | None
) -> None:
    page = browse(path, secret, width=NARROW)

    assert overflow(page) == 0
    assert page.locator("h1").count() == 1
    assert serious_faults(page) == []


def test_sign_in_by_keyboard_alone(browse: Browsing) -> None:
    page = browse("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    while page.evaluate("document.activeElement.textContent") != "Sign in":
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/console/sign-in")
    page.keyboard.type(ROOT_TOKEN)
    page.keyboard.press("Enter")
    page.wait_for_url("**/console")

    assert page.locator("h1").text_content() == "Overview"


def test_a_snippet_is_copied_and_tabs_change_without_a_script(browse: Browsing) -> None:
    page = browse("/")
    page.get_by_text("Python", exact=True).click()

    assert (page.text_content(".panel pre:visible") or "").startswith("# pip install openai")
    assert page.locator(".panel pre:visible").count() == 1
    page.locator(".panel:visible button.copy").click()
    page.get_by_text("Copied").or_(page.get_by_text("Selected")).wait_for()
