"""`served`: one gateway with the admin API on, for all tests of a file; `root` asks it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.emulator import EmulatorServer
from tests.api.admin.api_client import Api, admin_settings
from tests.support.serving import Running, serving


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, emulator_server: EmulatorServer
) -> Iterator[Running]:
    with serving(admin_settings(tmp_path_factory.mktemp("admin"), emulator_server)) as running:
        yield running


@pytest.fixture
def root(served: Running) -> Api:
    return Api(served)
