"""Draws docs/console-*.png: pages of a gateway with the demo's month, in Chromium.

Run by `make pictures`; look at each before it is committed.
"""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

from gateway.cli.demo_history import USERS, DemoHistory
from gateway.database.clock import now_ms
from gateway.database.database import Database
from gateway.database.migrate import migrate
from gateway.emulator import SAMPLE_PHOTOGRAPH, EmulatorServer
from gateway.runtime.backends import open_database
from gateway.settings import Settings
from tests.api.admin.api_client import ROOT_TOKEN, Api, in_force
from tests.console.browsing import NARROW, WIDE, Browsing, Chromium, open_chromium
from tests.console.visiting import console_settings
from tests.support.serving import Overrides, Running, serving

DOCS = Path("docs")
MOST_BYTES = 120_000
Step = Callable[[Page], None]
LOOKS = (
    "Make it grey, for the catalogue", "A vintage look, sepia", "A sketch: outlines only",
    "Colourful, vivid, for the summer sale", "Darker, as at night", "A mosaic of large pixels",
    "A poster for the trade fair, high contrast", "A warm evening light",
    "Cool blue, for the winter",
    "Mirror it, brighter", "Out of focus, for a background", "A negative",
)  # fmt: skip
"""Prompts of the gallery's pictures: words that the emulator knows."""


_LOADED = """Promise.all([...document.images].map(
    image => { image.loading = "eager"; return image.decode().catch(() => 0); }))"""


def nothing_more(_: Page) -> None:
    """The page as it opens."""


def open_a_purchase(page: Page) -> None:
    page.locator("tr", has=page.locator(".tag.miss")).first.locator("a").click()


def open_a_picture(page: Page) -> None:
    page.locator(".gallery a").nth(3).click()
    page.locator(".compare").wait_for()


def try_an_edit(page: Page) -> None:
    page.select_option("#f-team", "web-shop")
    page.fill("#f-prompt", "A poster, dramatic")
    page.set_input_files("#f-pictures", str(SAMPLE_PHOTOGRAPH))
    page.get_by_text("Would be bought").wait_for()
    page.get_by_role("button", name="Run").click()
    page.locator("#result .compare").wait_for()


@dataclass(frozen=True)
class Picture:
    """One file: docs/console-NAME.png. Without `secret` nobody has signed in."""

    name: str
    path: str
    secret: str | None = ROOT_TOKEN
    width: int = WIDE
    dark: bool = False
    step: Step = nothing_more
    height: int = 0
    """So much of the page from its top; 0 is all of it."""


PICTURES = (
    Picture("start", "/", secret=None),
    Picture("overview", "/console"),
    Picture("overview-narrow", "/console", width=NARROW, dark=True),
    Picture("spend", "/console/spend?by=team", dark=True),
    Picture("teams", "/console/teams"),
    Picture("team", "/console/teams/web-shop", height=800),
    Picture("budgets", "/console/budgets"),
    Picture("requests", "/console/requests", height=800),
    Picture("request", "/console/requests", step=open_a_purchase),
    Picture("pictures", "/console/pictures", dark=True),
    Picture("picture", "/console/pictures", step=open_a_picture),
    Picture("picture-narrow", "/console/pictures", width=NARROW, dark=True, step=open_a_picture),
    Picture("try", "/console/try", step=try_an_edit),
    Picture("books", "/console/books", height=1000),
    Picture("operations", "/console/operations", dark=True, height=715),
)


def draw(chromium: Chromium, served: Running, picture: Picture) -> None:
    browsing = Browsing(chromium, served)
    page = browsing(picture.path, picture.secret, width=picture.width, dark=picture.dark)
    picture.step(page)
    whole: int = page.evaluate("document.documentElement.scrollHeight")
    page.set_viewport_size({"width": picture.width, "height": picture.height or whole})
    page.evaluate(_LOADED)
    save(page.screenshot(), DOCS / f"console-{picture.name}.png")
    browsing.close()
    if browsing.faults:
        raise RuntimeError(f"{picture.name}: {browsing.faults}")


def save(screenshot: bytes, file: Path) -> None:
    """As large and with as many colours as fit into 120 kB."""
    with Image.open(io.BytesIO(screenshot)) as opened:
        picture = opened.convert("RGB")
    for part, colours in ((1, 256), (1, 128), (0.75, 256), (0.75, 128), (0.6, 256), (0.6, 128)):
        size = (int(picture.width * part), int(picture.height * part))
        drawn = picture.resize(size, Image.Resampling.LANCZOS)
        drawn.quantize(colours, dither=Image.Dither.NONE).save(file, optimize=True)
        if file.stat().st_size <= MOST_BYTES:
            return
    raise RuntimeError(f"{file.name} has {file.stat().st_size:,} bytes")


@contextmanager
def demonstrating() -> Iterator[Running]:
    """A gateway with a month of requests."""
    with tempfile.TemporaryDirectory() as folder, EmulatorServer() as emulator:
        address: Overrides = {
            "server": {"port": 8080, "timezone": "UTC"},
            "console": {"public_index": True, "gallery": True, "keep_inputs": "all"},
        }
        settings = console_settings(Path(folder), emulator, address)
        asyncio.run(fill(settings))
        with serving(settings) as running:
            buy_pictures(running)
            yield running


def buy_pictures(running: Running) -> None:
    """What the gallery shows; some of it was asked for again."""
    root = Api(running)
    key = root.post("/keys", team="web-shop", name="catalogue")["secret"]
    in_force(lambda: running.edit(LOOKS[0], key=key).status_code == 200)
    photograph = [SAMPLE_PHOTOGRAPH.read_bytes()]
    for number, prompt in enumerate((*LOOKS, *LOOKS[::3], *LOOKS[::2])):
        user = {"x-gateway-user": USERS[number % len(USERS)]}
        answer = running.edit(prompt, images=photograph, key=key, headers=user)
        answer.raise_for_status()
    in_force(lambda: root.get("/usage", by="key", team="web-shop")["total"]["calls"] > 20)


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
