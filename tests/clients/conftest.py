"""Fixtures of the client suites: gateways that last for a module, files to send, libraries."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.emulator import EmulatorServer
from tests.clients import pictures as files
from tests.clients import refusals
from tests.serving import Running, make_key, serving, settings_for

Prompt = Callable[[], str]


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the files that are sent."""
    return files.written_to(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def lasting(
    tmp_path_factory: pytest.TempPathFactory, emulator_server: EmulatorServer
) -> Iterator[Running]:
    """A gateway for a whole module; each of its tests asks for edits of its own."""
    settings = settings_for(tmp_path_factory.mktemp("lasting"), emulator_server)
    make_key(settings)
    with serving(settings) as running:
        yield running


@pytest.fixture(scope="module")
def refusing(
    tmp_path_factory: pytest.TempPathFactory, emulator_server: EmulatorServer
) -> Iterator[Running]:
    """A gateway that has every reason to refuse, for a whole module."""
    with refusals.gateway(tmp_path_factory.mktemp("refusing"), emulator_server) as running:
        yield running


@pytest.fixture
def new_prompt(request: pytest.FixtureRequest) -> Prompt:
    """Gives prompts that no other test has: each makes a picture grey."""
    numbers = itertools.count(1)
    return lambda: f"make it grey: {request.node.nodeid} {next(numbers)}"
