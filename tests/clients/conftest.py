"""Fixtures of the client suites: gateways that last, files to send, libraries."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.emulator import EmulatorServer
from tests.clients import pictures as files
from tests.clients import refusals
from tests.support.serving import GatewayProcess, Served, make_key, settings_for, tables_of

Prompt = Callable[[], str]


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the files that are sent."""
    return files.written_to(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="session")
def lasting(
    tmp_path_factory: pytest.TempPathFactory, emulator_server: EmulatorServer
) -> Iterator[Served]:
    """`gateway serve` for all of the session; each test asks for edits of its own."""
    folder = tmp_path_factory.mktemp("lasting")
    make_key(settings_for(folder, emulator_server))
    with GatewayProcess(tables_of(folder, emulator_server), folder) as process:
        yield process


@pytest.fixture(scope="session")
def refusing(
    tmp_path_factory: pytest.TempPathFactory, emulator_server: EmulatorServer
) -> Iterator[Served]:
    """`gateway serve` with every reason to refuse, for all of the session.

    No more than 30 of its requests a minute may bring a key that is not valid.
    """
    with refusals.gateway(tmp_path_factory.mktemp("refusing"), emulator_server) as running:
        yield running


@pytest.fixture
def new_prompt(request: pytest.FixtureRequest) -> Prompt:
    """Gives prompts that no other test has: each makes a picture grey."""
    numbers = itertools.count(1)
    return lambda: f"make it grey: {request.node.nodeid} {next(numbers)}"
