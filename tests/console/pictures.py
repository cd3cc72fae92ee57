"""Draws docs/console-*.png: pages of a gateway with the demo's month, in Chromium.

Run by `make pictures`; look at each before it is committed.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gateway.cli.demo_history import DemoHistory
from gateway.database.clock import now_ms
from gateway.database.database import Database
from gateway.database.migrate import migrate
from gateway.emulator import EmulatorServer
from gateway.runtime.backends import open_database
from gateway.settings import Settings
from tests.api.admin.api_client import ROOT_TOKEN
from tests.console.browsing import NARROW, WIDE, Browsing, Chromium, open_chromium
from tests.console.visiting import console_settings
from tests.support.serving import Overrides, Running, serving

DOCS = Path("docs")


@dataclass(frozen=True)
class Picture:
    """One file: docs/console-NAME.png. Without `secret` nobody has signed in."""

    name: str
    path: str
    secret: str | None = ROOT_TOKEN
    width: int = WIDE
    dark: bool = False


PICTURES = (
    Picture("start", "/", secret=None),
    Picture("overview", "/console"),
    Picture("overview-narrow", "/console", width=NARROW, dark=True),
    Picture("spend", "/console/spend?by=team", dark=True),
    Picture("teams", "/console/teams"),
    Picture("team", "/console/teams/web-shop"),
    Picture("budgets", "/console/budgets"),
)


def draw(chromium: Chromium, served: Running, picture: Picture) -> None:
    browsing = Browsing(chromium, served)
    page = browsing(picture.path, picture.secret, width=picture.width, dark=picture.dark)
    page.screenshot(path=DOCS / f"console-{picture.name}.png", full_page=True)
    browsing.close()
    if browsing.faults:
        raise RuntimeError(f"{picture.name}: {browsing.faults}")


@contextmanager
def demonstrating() -> Iterator[Running]:
    """A gateway with a month of requests."""
    with tempfile.TemporaryDirectory() as folder, EmulatorServer() as emulator:
        address: Overrides = {
            "server": {"port": 8080, "timezone": "UTC"},
            "console": {"public_index": True},
        }
        settings = console_settings(Path(folder), emulator, address)
        asyncio.run(fill(settings))
        with serving(settings) as running:
            yield running


async def fill(settings: Settings) -> None:
    database: Database = open_database(settings.state)
    history = DemoHistory(now_ms(), settings.zone, settings.upstream.name)
    try:
        await migrate(database)
        callers = await database.write(history.make_accounts)
        for requests in history.days(callers):
            await database.write(partial(history.write, requests=requests))
        await database.write(history.ask_for_money)
    finally:
        await database.close()


def main() -> None:
    chromium = open_chromium()
    with demonstrating() as running:
        for picture in PICTURES:
            chromium.run(partial(draw, chromium, running, picture))
    chromium.close()


if __name__ == "__main__":
    main()
