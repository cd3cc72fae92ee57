"""Fixtures that every test may use."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import httpx._transports.default
import hypothesis
import pytest

from gateway.emulator import EmulatorServer
from gateway.pricing import price_file
from gateway.settings import Settings
from tests.support.databases import (  # noqa: F401
    database,
    database_url,
    empty_database,
    postgres_url,
    schemas,
)
from tests.support.memory_files import keep_files_in_memory
from tests.support.prompt_servers import stop_promptly
from tests.support.serving import Running, make_key, serving, settings_for

keep_files_in_memory()
# How fast examples are drawn and tried depends on what else the machine does.
hypothesis.settings.register_profile(
    "busy machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("busy machine")
# A client reads the certificates anew, 25 ms each time, and the tests open thousands of clients.
httpx._transports.default.create_ssl_context = cache(  # type: ignore[attr-defined]
    httpx._transports.default.create_ssl_context  # type: ignore[attr-defined]
)
# Each gateway reads the prices that ship anew, which is a tenth of its start.
price_file.parse_prices = cache(price_file.parse_prices)
stop_promptly()

LONGEST_FILES = (
    "tests/dashboards/test_queries.py",
    "tests/upstream/test_limiter.py",
    "tests/end_to_end/test_failure_memory.py",
    "tests/server/test_worker_processes.py",
    "tests/clients/test_situations.py",
    "tests/deploy/test_drills.py",
    "tests/project/test_readme.py",
    "tests/end_to_end/test_faults.py",
    "tests/server/test_server.py",
    "tests/clients/test_long_edits.py",
    "tests/api/openapi/test_conformance.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, so that no worker of several ends long after the others."""
    items.sort(key=lambda item: item.location[0] not in LONGEST_FILES)


def pytest_collection() -> None:
    """Look for no garbage while tests are collected: all that is made stays."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Exempt the modules of all tests from garbage collections, which are to be few."""
    gc.enable()
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(scope="session")
def emulator_server() -> Iterator[EmulatorServer]:
    with EmulatorServer() as server:
        yield server


@pytest.fixture
def emulator(emulator_server: EmulatorServer) -> Iterator[EmulatorServer]:
    """An emulator with empty books and no faults, which leaves none to the next test either."""
    emulator_server.reset()
    yield emulator_server
    emulator_server.release()
    emulator_server.reset()


@pytest.fixture
def settings(tmp_path: Path, emulator: EmulatorServer) -> Settings:
    """A gateway's settings with the team `design`, unlimited, and a key of it."""
    found = settings_for(tmp_path, emulator)
    make_key(found)
    return found


@pytest.fixture
def gateway(settings: Settings) -> Iterator[Running]:
    """That gateway, serving."""
    with serving(settings) as running:
        yield running
