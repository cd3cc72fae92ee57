"""Pictures: a team's results for its people, and nobody else's."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.emulator import EmulatorServer
from gateway.gallery.tables import gallery
from gateway.gallery.tables.gallery import Viewer
from tests.api.admin.api_client import ROOT_TOKEN, Api, fresh, in_force
from tests.console.browsing import NARROW, Browsing, overflow
from tests.console.conftest import OTHER_KEY
from tests.console.visiting import Visiting, console_settings, signed_in
from tests.support.serving import KEY, Overrides, Running, in_state, make_key, serving

PATH = "/console/pictures"
SECOND_KEY = "sk-design-second-0123456789"
ON: Overrides = {"console": {"gallery": True}, "server": {"public_url": "http://pictures.test"}}


@contextmanager
def gallery_of(folder: Path, emulator: EmulatorServer, **cache: str) -> Iterator[Running]:
    settings = console_settings(folder, emulator, {**ON, "cache": cache})
    make_key(settings)
    make_key(settings, name="second", secret=SECOND_KEY)
    make_key(settings, team="photos", name="web", secret=OTHER_KEY)
    with serving(settings) as running:
        yield running


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, emulator_server: EmulatorServer
) -> Iterator[Running]:
    """Two teams with pictures, of which one was used twice more."""
    with gallery_of(tmp_path_factory.mktemp("gallery"), emulator_server) as running:
        for prompt in ("grey", "grey", "grey", "blue"):
            running.edit(prompt)
        running.edit("red", key=OTHER_KEY)
        in_force(lambda: len(results(running, ROOT_TOKEN)) == 3)
        yield running


def results(served: Running, secret: str, query: str = "") -> list[str]:
    """The paths of the results that a visitor sees."""
    with signed_in(served, secret) as visiting:
        return paths_in(visiting, query)


def paths_in(visiting: Visiting, query: str = "") -> list[str]:
    text = visiting.open(f"{PATH}{query}").text
    return re.findall(r'<li><a href="(/console/pictures/[^"]+)"', text)


def bought(served: Running, key: str = KEY) -> str:
    """The path of a new result."""
    answer = served.edit(fresh("prompt"), key=key)
    found = re.findall(r'key="?(v2-\w+)', answer.headers["cache-status"])[0]
    path = f"{PATH}/{found}"
    in_force(lambda: path in results(served, ROOT_TOKEN))
    return path


def address_of(text: str, kind: str) -> str:
    found: str = re.findall(rf'<img src="(/console/{kind}/[^"]+)"', text)[0]
    return found.replace("&amp;", "&")


def test_people_see_their_teams_results_and_an_administrator_all(
    served: Running, root: Api
) -> None:
    lead = root.post("/tokens", name=fresh("lead"), role="team:photos")["secret"]

    assert set(results(served, ROOT_TOKEN)) > set(results(served, KEY))
    assert len(results(served, lead)) == len(results(served, OTHER_KEY)) == 1
    assert results(served, ROOT_TOKEN, "?team=photos") == results(served, lead)
    assert results(served, lead, "?team=design") == results(served, lead)
    finance = root.post("/tokens", name=fresh("finance"), role="finance")["secret"]
    with signed_in(served, finance) as visiting:
        assert visiting.open(PATH).status_code == 403


def test_the_most_used_comes_first_with_what_it_saved(served: Running) -> None:
    with signed_in(served, KEY) as visiting:
        in_force(lambda: "2 hits" in visiting.open(PATH).text)
        first = paths_in(visiting, "?order=most+used")[0]
        page = visiting.open(first).text

    assert "2, $0.02 saved" in page
    assert "design/first" in page


def test_another_teams_picture_is_as_unknown_as_none(served: Running) -> None:
    (theirs,) = results(served, OTHER_KEY)
    with signed_in(served, KEY) as visiting:
        unknown = visiting.open(f"{PATH}/v2-{'0' * 64}")
        answer = visiting.open(theirs)
        purge = visiting.submit(f"{theirs}/purge")

    assert (answer.status_code, purge.status_code) == (404, 403)
    assert re.sub("<main.*", "", answer.text) == re.sub("<main.*", "", unknown.text)
    token = Api(served).post("/tokens", name=fresh("lead"), role="team:design")["secret"]
    with signed_in(served, token) as lead:
        assert lead.submit(f"{theirs}/purge").status_code == 404
        assert lead.submit(f"{theirs}/share").status_code == 404


def test_files_and_thumbnails_are_of_one_session(served: Running) -> None:
    with signed_in(served, KEY) as visiting:
        thumbnail = address_of(visiting.open(PATH).text, "thumbnails")
        file = address_of(visiting.open(results(served, KEY)[0]).text, "files")
        small, whole = visiting.get(thumbnail), visiting.get(file)
        saved = visiting.get(f"{file}&download=1")
    with signed_in(served, KEY) as same_key, signed_in(served, OTHER_KEY) as other:
        sessions, paths = (same_key, other), (thumbnail, file)
        statuses = [each.get(path).status_code for each in sessions for path in paths]

    assert (small.headers["content-type"], whole.headers["content-type"]) == (
        "image/webp",
        "image/png",
    )
    for answer in (small, whole):
        assert answer.headers["cache-control"].startswith("private, max-age=")
        assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert saved.headers["content-disposition"] == 'attachment; filename="picture.png"'
    assert statuses == [403] * 4
    with Visiting(served) as nobody:
        assert nobody.get(file).status_code == nobody.get(thumbnail).status_code == 303


def test_a_purge_takes_the_picture_out_of_gallery_and_store(served: Running, root: Api) -> None:
    path = bought(served)
    with signed_in(served) as visiting:
        visiting.open(path)
        done = visiting.submit(f"{path}/purge")
        shown = paths_in(visiting)

    assert (done.status_code, done.headers["location"]) == (303, PATH)
    assert path not in shown
    (change,) = [
        each
        for each in root.every("/audit")
        if each["action"] == "cache.purge" and each["new"]["fingerprint"] in path
    ]
    assert change["actor"] == "root"


def test_everything_made_from_a_picture_is_purged_in_its_team_alone(
    tmp_path: Path, emulator_server: EmulatorServer
) -> None:
    with gallery_of(tmp_path, emulator_server) as served:
        path, _, theirs = bought(served), bought(served), bought(served, OTHER_KEY)
        with signed_in(served) as visiting:
            page = visiting.open(path).text
            reference = re.findall(r'name="containing" value="(\w+)"', page)[0]
            assert visiting.submit(f"{path}/purge", containing="0" * 64).status_code == 400
            visiting.submit(f"{path}/purge", containing=reference)
            assert paths_in(visiting) == [theirs]


def test_a_shared_link_opens_without_sign_in_until_a_purge(served: Running, root: Api) -> None:
    path = bought(served)
    with signed_in(served) as visiting:
        visiting.open(path)
        text = visiting.submit(f"{path}/share").text
        url = re.findall(r"<code>http://pictures.test(/v1/pictures/[^<]+)<", text)[0]
        with Visiting(served) as nobody:
            link = url.replace("&amp;", "&")
            opened = nobody.get(link)
            forged = nobody.get(link.replace("expires=1", "expires=2"))
            visiting.submit(f"{path}/purge")
            in_force(lambda: nobody.get(link).status_code == 410)

    assert opened.content[:4] == b"\x89PNG"
    assert forged.status_code == 403
    assert re.search(r"until <strong>\d+ \w+ 20\d\d, \d\d:\d\d</strong>", text)
    change = next(c for c in root.get("/audit")["data"] if c["action"] == "picture.share")
    assert change["actor"] == "root"


def test_a_key_may_look_and_neither_purge_nor_share(served: Running) -> None:
    path = results(served, KEY)[0]
    with signed_in(served, KEY) as visiting:
        page = visiting.open(path).text
        statuses = [visiting.submit(f"{path}/{what}").status_code for what in ("purge", "share")]

    assert statuses == [403, 403]
    assert "Purge" not in page


def test_under_scope_key_a_keys_pictures_are_its_own(
    tmp_path: Path, emulator_server: EmulatorServer
) -> None:
    with gallery_of(tmp_path, emulator_server, scope="key") as served:
        own, second = bought(served), bought(served, SECOND_KEY)
        lead = Api(served).post("/tokens", name="lead", role="team:design")["secret"]

        assert results(served, KEY) == [own]
        assert results(served, SECOND_KEY) == [second]
        assert results(served, lead) == []
        with signed_in(served, KEY) as visiting:
            assert visiting.open(second).status_code == 404


def test_switched_off_it_forgets_what_it_knew(
    tmp_path: Path, emulator_server: EmulatorServer
) -> None:
    with gallery_of(tmp_path, emulator_server) as served:
        path = bought(served)
    settings = console_settings(tmp_path, emulator_server)
    with serving(settings) as off:
        off.edit("not kept")
        with signed_in(off) as visiting:
            assert "The gallery is off" in visiting.open(PATH).text
            assert visiting.open(path).status_code == 404

    async def listed(tx):  # type: ignore[no-untyped-def]
        return await gallery.listed(tx, Viewer(), 0, "newest", offset=0, limit=9)

    assert in_state(settings, listed) == []


def test_the_gallery_and_a_picture_in_the_browser(browse: Browsing) -> None:
    page = browse(PATH, ROOT_TOKEN, width=NARROW)
    width = "image => image.decode().then(() => image.naturalWidth)"
    assert page.locator(".gallery img").first.evaluate(width) > 100
    assert overflow(page) == 0
    page.locator(".gallery a").first.click()
    assert page.locator(".shown img").evaluate(width) > 100
    assert overflow(page) == 0


def test_what_the_store_has_evicted_is_shown_as_no_longer_stored(served: Running) -> None:
    """The last test: it stays in the list."""
    path = bought(served)
    assert asyncio.run(served.app.parts.cache.results.delete(path.rpartition("/")[2]))
    with signed_in(served, KEY) as visiting:
        thumbnail = visiting.get(address_of(visiting.open(PATH).text, "thumbnails"))
        page = visiting.get(path)

    assert thumbnail.headers["content-type"] == "image/svg+xml"
    assert thumbnail.headers["cache-control"] == "no-store"
    assert "No longer stored" in thumbnail.text
    assert page.status_code == 410
    assert "no longer stored" in page.text
