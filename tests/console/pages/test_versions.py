"""What is kept of an edit beside its picture, and another version of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gateway.emulator import EmulatorServer
from tests.api.admin.api_client import ROOT_TOKEN, Api, fresh, in_force
from tests.console.browsing import NARROW, Browsing, overflow
from tests.console.conftest import OTHER_KEY
from tests.console.pages.test_pictures import PATH, paths_in
from tests.console.visiting import console_settings, signed_in
from tests.support.serving import KEY, PHOTOGRAPH, Running, make_key, serving

ON = {"gallery": True, "keep_inputs": "all"}
MARK = "</p><script>alert(1)</script>"


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, emulator_server: EmulatorServer
) -> Iterator[Running]:
    """Everything is kept, but of the team `photos` nothing."""
    settings = console_settings(
        tmp_path_factory.mktemp("kept"),
        emulator_server,
        {"console": ON, "cache": {"scope": "team"}},
    )
    make_key(settings)
    make_key(
        settings,
        team="photos",
        name="web",
        secret=OTHER_KEY,
        team_terms={"unlimited": True, "keep_inputs": "off"},
    )
    with serving(settings) as running:
        yield running


def bought(served: Running, key: str = KEY) -> str:
    """The path of a new result."""
    answer = served.edit(f"{fresh('prompt')} {MARK}", key=key)
    found = re.findall(r'key="?(v2-\w+)', answer.headers["cache-status"])[0]
    with signed_in(served) as visiting:
        in_force(lambda: f"{PATH}/{found}" in paths_in(visiting))
    return f"{PATH}/{found}"


def sent_picture(page: httpx.Response) -> str:
    address: str = re.findall(r'<img src="(/console/files/v0-[^"]+)" alt="Before"', page.text)[0]
    return address.replace("&amp;", "&")


def test_prompt_and_picture_are_shown_to_the_team_alone(served: Running) -> None:
    path = bought(served)
    with signed_in(served, KEY) as visiting:
        page = visiting.open(path)
        before = visiting.get(sent_picture(page))
    with signed_in(served, OTHER_KEY) as other:
        assert other.get(sent_picture(page)).status_code == 403

    assert "prompt" in page.text
    assert "&lt;/p&gt;&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
    assert "<script>alert" not in page.text
    assert before.content == PHOTOGRAPH
    assert MARK not in served.log.getvalue()


def test_a_team_may_keep_nothing(served: Running) -> None:
    with signed_in(served, OTHER_KEY) as visiting:
        page = visiting.open(bought(served, OTHER_KEY)).text
        quote = visiting.submit(f"{paths_in(visiting)[0]}/version")

    assert "are not kept" in page
    assert "alert(1)" not in page
    assert quote.status_code == 409


def test_another_version_is_quoted_then_bought_and_stands_beside(
    served: Running, root: Api
) -> None:
    path = bought(served)
    calls = root.get("/usage", by="key")["total"]["calls"]
    with signed_in(served, KEY) as visiting:
        visiting.open(path)
        quote = visiting.submit(f"{path}/version").text
        variant = re.findall(r'name="variant" value="(\w+)"', quote)[0]
        done = visiting.submit(f"{path}/version/buy", variant=variant)
        second = visiting.open(done.headers["location"]).text
        third = visiting.submit(f"{path}/version").text

    assert "Would be bought for at most $0.01" in quote
    assert (variant, done.status_code) == ("2", 303)
    assert done.headers["location"] not in ("", path)
    assert (second.count("Version 1"), second.count("Version 2")) == (2, 2)
    assert 'name="variant" value="3"' in third
    in_force(lambda: root.get("/usage", by="key")["total"]["calls"] == calls + 1)


def test_a_version_that_was_not_quoted_is_refused(served: Running) -> None:
    path = bought(served)
    with signed_in(served, KEY) as visiting, signed_in(served, OTHER_KEY) as other:
        visiting.open(path)
        assert visiting.submit(f"{path}/version/buy", variant="../1").status_code == 400
        other.open("/console")
        assert other.submit(f"{path}/version").status_code == 404
        assert other.submit(f"{path}/version/buy", variant="2").status_code == 404


def test_a_purge_takes_what_was_kept_too(served: Running) -> None:
    path = bought(served)
    with signed_in(served) as visiting:
        picture = sent_picture(visiting.open(path))
        assert visiting.get(picture).status_code == 200
        visiting.submit(f"{path}/purge")
        assert visiting.get(picture).status_code == 410


def test_switched_off_what_was_kept_is_deleted(served: Running, root: Api) -> None:
    path = bought(served)
    with signed_in(served) as visiting:
        picture = sent_picture(visiting.open(path))
        root.patch("/teams/design", keep_inputs="prompts")
        try:
            in_force(lambda: visiting.get(picture).status_code == 410, seconds=30)
            assert "alert(1)" not in visiting.open(path).text
        finally:
            root.patch("/teams/design", keep_inputs=None)
            in_force(lambda: served.app.parts.authenticator.keep_inputs_of("design") == "")


def test_before_and_after_have_a_slider(browse: Browsing, served: Running) -> None:
    page = browse(bought(served), ROOT_TOKEN, width=NARROW)
    slider = page.locator(".compare input[type=range]")
    slider.focus()
    page.keyboard.press("ArrowRight")

    assert slider.input_value() == "51"
    assert page.locator(".compare .before").evaluate("i => i.decode().then(() => i.naturalWidth)")
    assert overflow(page) == 0


def test_it_expires_with_keep_inputs_days(tmp_path: Path, emulator_server: EmulatorServer) -> None:
    more = {"console": {**ON, "keep_inputs_days": 1}}
    settings = console_settings(tmp_path, emulator_server, more)
    make_key(settings)
    with serving(settings) as running:
        running.edit("short")

        async def days() -> set[int]:
            results = running.app.parts.cache.results
            return {
                (each.expires_ms - each.created_ms) // 86_400_000
                async for each in results.entries()
                if each.key.startswith("v0-")
            }

        assert asyncio.run(days()) == {1}
