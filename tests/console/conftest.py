"""`served`: one gateway that has spent some money, for a file; `browse` opens its pages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.emulator import EmulatorServer
from tests.api.admin.api_client import Api, in_force
from tests.console.browsing import Browsing, Chromium, open_chromium
from tests.console.planted import Planted, planting
from tests.console.visiting import console_settings
from tests.support.serving import Running, make_key, serving

OTHER_KEY = "sk-photos-0123456789abcdef"


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, emulator_server: EmulatorServer
) -> Iterator[Running]:
    """The team `design` has spent its budget, the team `photos` has none."""
    settings = console_settings(tmp_path_factory.mktemp("console"), emulator_server)
    make_key(settings, team_terms={"budget_usd": "0.02"})
    make_key(settings, team="photos", name="web", secret=OTHER_KEY)
    with serving(settings) as running:
        for prompt in ("grey", "grey", "blue", "red"):
            running.edit(prompt)
        running.edit("blue", key=OTHER_KEY)
        root = Api(running)
        in_force(lambda: root.get("/usage", by="team")["total"]["calls"] == 5)
        in_force(lambda: root.get("/budgets", team="design")["data"][0]["refused_today"] == 1)
        yield running


@pytest.fixture(scope="package")
def planted(
    tmp_path_factory: pytest.TempPathFactory, emulator_server: EmulatorServer
) -> Iterator[Planted]:
    """A gateway with markup wherever people and an upstream can write."""
    with planting(tmp_path_factory.mktemp("planted"), emulator_server) as found:
        yield found


@pytest.fixture
def root(served: Running) -> Api:
    return Api(served)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    found = open_chromium()
    yield found
    found.close()


@pytest.fixture
def browse(chromium: Chromium, served: Running) -> Iterator[Browsing]:
    """Opens pages of `served`. Fails for an error in them, or a request to another host."""
    browsing = Browsing(chromium, served)
    yield browsing
    chromium.run(browsing.close)
    assert browsing.faults == []


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> object:
    """Run a test that asks for `browse` on the browser's thread."""
    if "browse" not in pyfuncitem.fixturenames:
        return None
    chromium: Chromium = pyfuncitem._request.getfixturevalue("chromium")
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    chromium.run(lambda: pyfuncitem.obj(**arguments))
    return True
