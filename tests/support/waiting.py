"""Waiting for what another thread or process does."""

from __future__ import annotations

import time
from collections.abc import Callable

from gateway.emulator import EmulatorServer


def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until it is so; fails where it does not come about in time.

    The longer it has been waited for, the longer the pauses: a look often costs a request.
    """
    waited = 0.0
    while not true():
        if waited > seconds:
            raise AssertionError("it did not come about")
        pause = min(max(waited / 10, 0.005), 0.25)
        time.sleep(pause)
        waited += pause


def let_go(emulator: EmulatorServer, calls: int = 1) -> None:
    """Let so many calls that hang go on; a call may have arrived and not hang yet."""
    gone = 0

    def all_gone() -> bool:
        nonlocal gone
        gone += emulator.release()
        return gone >= calls

    until(all_gone)
