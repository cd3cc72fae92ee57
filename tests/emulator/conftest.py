from collections.abc import Iterator

import pytest

from gateway.emulator import EmulatorServer
from tests.emulator.calling import Caller


@pytest.fixture(scope="module")
def running() -> Iterator[Caller]:
    """A running emulator and a client of it, shared by the tests of one file."""
    with EmulatorServer() as server:
        caller = Caller(server)
        with caller.http:
            yield caller


@pytest.fixture
def caller(running: Caller) -> Caller:
    """The client, its emulator as if just started."""
    running.emulator.reset()
    return running
