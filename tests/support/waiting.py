"""Waiting for what another thread or process does."""

from __future__ import annotations

import threading
from collections.abc import Callable

from gateway.emulator import EmulatorServer


def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until it is so; fails where it does not come about in time."""
    waited = threading.Event()
    for _ in range(int(seconds / 0.02)):
        if true():
            return
        waited.wait(0.02)
    raise AssertionError("it did not come about")


def let_go(emulator: EmulatorServer, calls: int = 1) -> None:
    """Let so many calls that hang go on; a call may have arrived and not hang yet."""
    gone = 0

    def all_gone() -> bool:
        nonlocal gone
        gone += emulator.release()
        return gone >= calls

    until(all_gone)
