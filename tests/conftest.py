"""Fixtures that every test may use."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import httpx._transports.default
import hypothesis
import pytest

from gateway.emulator import EmulatorServer
from gateway.settings import Settings
from tests.support.databases import (  # noqa: F401
    database,
    database_url,
    empty_database,
    postgres_url,
)
from tests.support.serving import Running, make_key, serving, settings_for

# How fast examples are drawn depends on what else the machine does.
hypothesis.settings.register_profile(
    "busy machine", suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("busy machine")
# A client reads the certificates anew, 25 ms each time, and the tests open thousands of clients.
httpx._transports.default.create_ssl_context = cache(  # type: ignore[attr-defined]
    httpx._transports.default.create_ssl_context  # type: ignore[attr-defined]
)


@pytest.fixture(scope="session")
def emulator_server() -> Iterator[EmulatorServer]:
    with EmulatorServer() as server:
        yield server


@pytest.fixture
def emulator(emulator_server: EmulatorServer) -> Iterator[EmulatorServer]:
    """An emulator with empty books and no faults."""
    emulator_server.reset()
    yield emulator_server
    emulator_server.release()


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
