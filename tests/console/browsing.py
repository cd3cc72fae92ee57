"""Chromium for the tests of the console: one for the session, on a thread of its own.

Playwright's synchronous interface leaves an event loop running on its thread, and other tests run
one of their own. A test that asks for `browse` is run on that thread as a whole (conftest.py).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright

from tests.console.visiting import COOKIE, signed_in
from tests.support.serving import Served

Result = TypeVar("Result")
NARROW, WIDE = 360, 1280


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
        self._contexts: list[BrowserContext] = []
        self.faults: list[str] = []

    def __call__(
        self, path: str, secret: str | None = None, *, width: int = WIDE, dark: bool = False
    ) -> Page:
        """A new browser's page at this path, of who has signed in with a token or a key."""
        context = self._chromium.browser.new_context(
            color_scheme="dark" if dark else "light", viewport={"width": width, "height": 800}
        )
        self._contexts.append(context)
        if secret is not None:
            with signed_in(self.served, secret) as visiting:
                cookie = visiting.cookies[COOKIE]
            context.add_cookies([{"name": COOKIE, "value": cookie, "url": self.served.url}])
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", self._note_message)
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("request", self._note_request)
        page.goto(f"{self.served.url}{path}")
        return page

    def close(self) -> None:
        for context in self._contexts:
            context.close()

    def _note_message(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"{message.type}: {message.text}")

    def _note_request(self, request: Any) -> None:
        parts, own = urlsplit(request.url), urlsplit(self.served.url)
        if parts.scheme not in ("blob", "data") and parts.netloc != own.netloc:
            self.faults.append(f"a request to {request.url}")


def open_chromium() -> Chromium:
    """Skips where there is no Chromium of the system, as on Debian `apt-get install chromium`."""
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("Chromium is not installed")
    return Chromium(executable)


def overflow(page: Page) -> int:
    """By how many pixels the page is wider than its window."""
    width: int = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    return width
