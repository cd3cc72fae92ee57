"""Refusals that a client meets only in certain circumstances, as data: how to bring each about."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from gateway.accounts.rules.guess_throttle import MOST_FAILURES
from gateway.emulator import EmulatorServer, EmulatorSettings
from tests.clients.asking import patient
from tests.support.serving import Overrides, Running
from tests.support.upstreams import recording_upstream
from tests.support.waiting import let_go, until

Made = AbstractContextManager[Running]
NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Situation:
    """What a client is told in it. `make` gives the gateway that it is in."""

    code: str
    status: int
    says: str
    make: Callable[[Path, EmulatorServer], Made]
    may_retry: bool = True
    calls: int = 0
    command: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    param: str | None = None
    soon: bool = True
    """It says to try again in a few seconds: then that is waited for here."""

    @property
    def name(self) -> str:
        return self.code

    @property
    def tries(self) -> int:
        """How many requests a library makes that may retry once, where that is soon."""
        return 2 if self.may_retry and self.soon else 1


@contextmanager
def guessed(folder: Path, emulator: EmulatorServer) -> Iterator[Running]:
    with patient(folder, emulator, {}) as gateway:
        with gateway.client("sk-nobody") as guesser:
            for _ in range(MOST_FAILURES):
                assert guesser.get("/v1/models").status_code == 401
        yield gateway


@contextmanager
def shutdown(folder: Path, emulator: EmulatorServer) -> Iterator[Running]:
    with patient(folder, emulator, {}) as gateway:
        gateway.app.parts.operation.shutdown.begin()
        yield gateway


@contextmanager
def unreachable(folder: Path, emulator: EmulatorServer) -> Iterator[Running]:
    tables = {"upstream": {"base_url": "http://127.0.0.1:9/v1", "max_attempts": 1}}
    with patient(folder, emulator, tables) as gateway:
        yield gateway


@contextmanager
def wordless(folder: Path, emulator: EmulatorServer) -> Iterator[Running]:
    """An upstream that refuses and does not say why."""
    with recording_upstream() as upstream:
        upstream.status = 418
        with patient(folder, emulator, {"upstream": {"base_url": upstream.url}}) as gateway:
            yield gateway


@contextmanager
def without_money(folder: Path, emulator: EmulatorServer) -> Iterator[Running]:
    """All the money there is is held by a call in flight."""
    with (
        pytest.MonkeyPatch.context() as patched,
        patient(folder, emulator, {}, budget_usd="0.01") as gateway,
    ):
        patched.setattr("gateway.ledger.budget_service.HELD_WAIT_SECONDS", 0.1)
        with _in_the_air(gateway, emulator, "another"):
            yield gateway


@contextmanager
def slow(folder: Path, emulator: EmulatorServer) -> Iterator[Running]:
    """An edit that takes longer than clients may wait is in the air."""
    tables: Overrides = {"server": {"client_wait_seconds": 0.3}}
    emulator.order({"hang": True})
    with patient(folder, emulator, tables) as gateway:
        try:
            yield gateway
        finally:
            let_go(emulator)


@contextmanager
def _in_the_air(gateway: Running, emulator: EmulatorServer, prompt: str) -> Iterator[None]:
    emulator.order({"hang": True})
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(gateway.edit, prompt)
        until(lambda: emulator.stats()["in_flight"] == 1)
        try:
            yield
        finally:
            let_go(emulator)
        assert asked.result(30).status_code == 200


@contextmanager
def without_books(folder: Path, emulator: EmulatorServer) -> Iterator[Running]:
    """Money can't be held, for its table is not there."""
    with patient(folder, emulator, {}) as gateway:
        with sqlite3.connect(folder / "gateway.db", timeout=20) as state:
            state.execute("ALTER TABLE reservations RENAME TO taken_away")
        yield gateway
        with sqlite3.connect(folder / "gateway.db", timeout=20) as state:
            state.execute("ALTER TABLE taken_away RENAME TO reservations")


@contextmanager
def mispriced(folder: Path, emulator: EmulatorServer) -> Iterator[Running]:
    """A picture of the model has cost 20 times its price."""
    with patient(folder, emulator, {}) as gateway:
        emulator.order({"cost": 0.2})
        assert gateway.edit("another").headers["x-gateway-cost-usd"] == "0.20"
        yield gateway


@contextmanager
def other_api(folder: Path, _: EmulatorServer) -> Iterator[Running]:
    """An upstream whose API says less than OpenAI's."""
    with (
        EmulatorServer(EmulatorSettings(api="gemini")) as upstream,
        patient(folder, upstream, {"upstream": {"api": "gemini"}}) as gateway,
    ):
        yield gateway


@contextmanager
def without_a_spool(folder: Path, emulator: EmulatorServer) -> Iterator[Running]:
    (folder / "spool").write_text("this is no folder")
    tables: Overrides = {"server": {"spool_folder": str(folder / "spool"), "spool_bytes": 100}}
    with patient(folder, emulator, tables) as gateway:
        yield gateway


@contextmanager
def crowded(folder: Path, emulator: EmulatorServer) -> Iterator[Running]:
    with patient(folder, emulator, {"server": {"max_connections": 1}}) as gateway:
        host, port = gateway.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as first:
            first.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            assert first.recv(65_536).startswith(b"HTTP/1.1 200")
            yield gateway


SITUATIONS = (
    Situation(
        "too_many_failures",
        429,
        "check the key",
        guessed,
        command={"api_key": "sk-a"},
        soon=False,
    ),
    Situation("shutting_down", 503, "nothing was charged", shutdown),
    Situation("upstream_unreachable", 502, "nothing was charged", unreachable),
    Situation("upstream_refused", 418, "without saying why", wordless, may_retry=False),
    Situation("budget_held", 429, "still running", without_money, calls=1),
    Situation("still_running", 504, "not paid for twice", slow, calls=1),
    Situation("state_unavailable", 503, "Nothing was charged", without_books),
    Situation("price_unconfirmed", 503, "Nothing was charged", mispriced, may_retry=False, calls=1),
    Situation(
        "unsupported_field",
        400,
        "can't be sent",
        other_api,
        may_retry=False,
        command={
            "fields": {
                "model": "gemini-2.5-flash-image",
                "prompt": "grey",
                "background": "transparent",
            }
        },
        param="background",
    ),
    Situation("storage_full", 503, "folder for uploads", without_a_spool, soon=False),
    Situation("overloaded", 503, "connections", crowded),
)
