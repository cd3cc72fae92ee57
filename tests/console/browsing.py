"""Chromium for the tests of the console: one for the session, on a thread of its own.

Playwright's synchronous interface leaves an event loop running on its thread, and other tests run
one of their own. A test that asks for `browse` is run on that thread as a whole (conftest.py).
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

from tests.clients.environments import axe_core
from tests.console.visiting import COOKIE, signed_in
from tests.support.serving import Served

Result = TypeVar("Result")
NARROW, WIDE = 360, 1280
_EVERY_RULE = '["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]'
_AXE = """axe.run({runOnly: RULES, resultTypes: ["violations"]}).then(found => found.violations
  .filter(each => ["serious", "critical"].includes(each.impact))
  .map(each => `${each.id}: ${each.nodes[0].html}`))"""


class Chromium:
    """The browser, and the thread that it is used on."""

    def __init__(self, executable: str) -> None:
        self._thread = ThreadPoolExecutor(1, "browser")
        self._playwright: Playwright = self.run(lambda: sync_playwright().start())
        self.browser: Browser = self.run(
            lambda: self._playwright.chromium.launch(
                executable_path=executable, args=["--no-sandbox", "--disable-gpu"]
            )
        )

        self._kept: Page | None = None

    def blank_page(self) -> Page:
        """The page that is kept for the first of each test, without cookies: one costs a second."""
        if self._kept is None:
            self._kept = self.browser.new_context().new_page()
        self._kept.context.clear_cookies()
        return self._kept

    def run(self, operation: Callable[[], Result]) -> Result:
        return self._thread.submit(operation).result()

    def close(self) -> None:
        self.run(self.browser.close)
        self.run(self._playwright.stop)
        self._thread.shutdown()


class Browsing:
    """Opens pages of one gateway, and collects what is wrong with them."""

    def __init__(self, chromium: Chromium, served: Served) -> None:
        self._chromium, self.served = chromium, served
        self._pages: list[Page] = []
        self.faults: list[str] = []
        self.elsewhere: set[str] = set()
        """Hosts of others, whose pages are none of ours."""
        self._expected: list[int] = []

    def expect_status(self, status: int) -> None:
        """The next answer that fails has this status, which the browser will warn of."""
        self._expected.append(status)

    def __call__(
        self, path: str, secret: str | None = None, *, width: int = WIDE, dark: bool = False
    ) -> Page:
        """A page of a browser of its own at this path, signed in with a token or a key."""
        page = self._chromium.browser.new_page() if self._pages else self._chromium.blank_page()
        self._pages.append(page)
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(color_scheme="dark" if dark else "light")
        if secret is not None:
            with signed_in(self.served, secret) as visiting:
                cookie = visiting.cookies[COOKIE]
            page.context.add_cookies([{"name": COOKIE, "value": cookie, "url": self.served.url}])
        page.set_default_timeout(10_000)
        for event, note in self._notes.items():
            page.on(event, note)  # type: ignore[call-overload]
        page.goto(f"{self.served.url}{path}")
        return page

    def close(self) -> None:
        """Leave the kept page blank, and close the others."""
        for page in self._pages[1:]:
            page.context.close()
        for page in self._pages[:1]:
            page.goto("about:blank")
            for event, note in self._notes.items():
                page.remove_listener(event, note)

    @functools.cached_property
    def _notes(self) -> Mapping[str, Callable[[Any], None]]:
        """What is listened to, by Playwright's names of the events."""
        return {
            "console": self._note_message,
            "pageerror": lambda error: self.faults.append(f"error: {error}"),
            "request": self._note_request,
        }

    def _note_message(self, message: Any) -> None:
        if message.page and urlsplit(message.page.url).netloc in self.elsewhere:
            return
        if self._expected and f"a status of {self._expected[0]} " in message.text:
            self._expected.pop(0)
            return
        if message.type in ("error", "warning"):
            self.faults.append(f"{message.type}: {message.text}")

    def _note_request(self, request: Any) -> None:
        parts, own = urlsplit(request.url), urlsplit(self.served.url)
        if {parts.netloc, urlsplit(request.frame.url).netloc} & self.elsewhere:
            return
        if parts.scheme not in ("about", "blob", "data") and parts.netloc != own.netloc:
            self.faults.append(f"a request to {request.url}")


def open_chromium() -> Chromium:
    """Skips where there is no Chromium of the system, as on Debian `apt-get install chromium`."""
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("Chromium is not installed")
    return Chromium(executable)


def serious_faults(page: Page, *, dark: bool = True) -> list[str]:
    """What axe-core finds: in light by every rule, and in dark of its colours."""
    page.evaluate(axe_core().read_text())
    found: list[str] = page.evaluate(_AXE.replace("RULES", _EVERY_RULE))
    if dark:
        page.emulate_media(color_scheme="dark")
        found += page.evaluate(_AXE.replace("RULES", '["color-contrast"]'))
    return found


def overflow(page: Page) -> int:
    """By how many pixels the page is wider than its window."""
    width: int = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    return width
