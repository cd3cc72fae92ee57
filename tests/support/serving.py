"""A real gateway in front of a real emulator, over real sockets: on a thread or as a process."""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import httpx
from PIL import Image

from gateway.accounts.rules.account_settings import AccountSettings, change_settings
from gateway.accounts.tables import keys, teams
from gateway.accounts.tables.audit import Author
from gateway.api.app import Gateway, create_app
from gateway.cli.serve import connection_limits_of
from gateway.console import console_routes
from gateway.database.clock import Clock, now_ms
from gateway.database.database import Operation
from gateway.database.migrate import migrate
from gateway.database.sqlite import SqliteDatabase
from gateway.emulator import SAMPLE_PHOTOGRAPH, EmulatorServer
from gateway.runtime.backends import open_database
from gateway.server import GatewayServer, ServerConfig, listen, server_config
from gateway.settings import Settings, load
from gateway.telemetry.log import EventLog
from tests.api.openapi.described import check_described
from tests.support.forked import ForkedProcess

Result = TypeVar("Result")
Overrides = Mapping[str, Mapping[str, Any]]

KEY = "sk-test-0123456789abcdef"
START_SECONDS = 60.0


def _smaller(photograph: Path) -> bytes:
    """Half as wide and high: most of a test's time went into drawing its answer."""
    file = io.BytesIO()
    with Image.open(photograph) as picture:
        picture.reduce(2).save(file, "JPEG", quality=90)
    return file.getvalue()


PHOTOGRAPH = _smaller(SAMPLE_PHOTOGRAPH)


def tables_of(folder: Path, emulator: EmulatorServer, more: Overrides | None = None) -> Overrides:
    """Settings of a gateway that keeps everything below `folder`, as TOML tables."""
    tables: dict[str, dict[str, Any]] = {
        "server": {"port": 0, "timezone": "UTC"},
        "upstream": {
            "base_url": emulator.base_url,
            "api_key": emulator.api_key,
            "first_call_alone": False,  # most tests make different calls side by side at once
        },
        "cache": {"url": f"disk:{folder / 'cache'}"},
        "state": {"url": f"sqlite:{folder / 'gateway.db'}"},
    }
    for section, values in (more or {}).items():
        tables[section] = {**tables.get(section, {}), **values}
    return tables


def settings_for(folder: Path, emulator: EmulatorServer, more: Overrides | None = None) -> Settings:
    return load(environment={}, overrides=tables_of(folder, emulator, more))


def in_state(settings: Settings, operation: Operation[Result]) -> Result:
    """Run one operation on the state, from outside the gateway, as the CLI does."""
    file = settings.state.sqlite_file
    if file is not None and not file.exists():
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_bytes(_migrated())

    async def run() -> Result:
        database = open_database(settings.state)
        try:
            await migrate(database)
            return await database.write(operation)
        finally:
            await database.close()

    return asyncio.run(run())


@cache
def _migrated() -> bytes:
    """An SQLite state with this version's tables: to copy takes a tenth of making it anew."""

    async def make(file: Path) -> None:
        database = SqliteDatabase(file)
        await migrate(database)
        await database.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(make(Path(folder) / "gateway.db"))
        return (Path(folder) / "gateway.db").read_bytes()


def author() -> Author:
    return Author("test", now_ms())


def make_key(
    settings: Settings,
    *,
    team: str = "design",
    secret: str = KEY,
    team_terms: Mapping[str, object] | None = None,
    key_terms: Mapping[str, object] | None = None,
    name: str = "first",
) -> str:
    """A team and a key of it with this secret; gives the key's id."""

    async def make(tx: Any) -> str:
        terms = change_settings(AccountSettings(), "team", team_terms or {"unlimited": True})
        if not any(found.name == team for found in await teams.list_teams(tx)):
            await teams.create_team(tx, team, terms, author())
        key = change_settings(AccountSettings(), "key", key_terms or {})
        made = await keys.create_key(tx, team, name, key, author(), secret=secret)
        return made.key.id

    return in_state(settings, make)


class Served:
    """How a test talks to a gateway: `edit` and `client`, both over its socket."""

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    def client(self, key: str | None = KEY, **more: Any) -> httpx.Client:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(
            base_url=self.url,
            headers=headers,
            timeout=60.0,
            trust_env=False,
            verify=False,  # noqa: S501 - no TLS here; to read the certificates takes 25 ms each time
            event_hooks={"response": [check_described]},
            **more,
        )

    def edit(
        self,
        prompt: str = "make it grey",
        *,
        images: int | list[bytes] = 1,
        key: str | None = KEY,
        model: str | None = "deepshi-image-1",
        headers: Mapping[str, str] | None = None,
        **fields: str,
    ) -> httpx.Response:
        """One edit, as curl would send it."""
        pictures = [PHOTOGRAPH] * images if isinstance(images, int) else images
        files = [("image[]", (f"{i}.jpg", picture)) for i, picture in enumerate(pictures)]
        data = {"prompt": prompt, **({"model": model} if model else {}), **fields}
        with self.client(key) as client:
            return client.post("/v1/images/edits", data=data, files=files, headers=headers)


@dataclass
class Running(Served):
    """A gateway on a thread of this process, with its parts in reach."""

    settings: Settings
    app: Gateway
    log: io.StringIO

    def __init__(self, url: str, settings: Settings, app: Gateway, log: io.StringIO) -> None:
        super().__init__(url)
        self.settings, self.app, self.log = settings, app, log


class SteppedClock(Clock):
    """A gateway's clock that a test sets forward instead of sleeping."""

    def __init__(self) -> None:
        super().__init__()
        self._stepped_ms = 0

    def __call__(self) -> int:
        return super().__call__() + self._stepped_ms

    def step(self, seconds: float) -> None:
        self._stepped_ms += int(seconds * 1000)


@contextmanager
def serving(settings: Settings, clock: Clock | None = None) -> Iterator[Running]:
    """Serve a gateway under uvicorn on a thread, on a free port."""
    log = io.StringIO()
    events = EventLog(format="json", level="debug", out=log)
    app = create_app(settings, events, clock=clock, more_routes=console_routes)
    listener = listen(settings.server.host, settings.server.port)
    proxies = settings.server.trusted_proxies
    server = _Server(server_config(app, connection_limits_of(settings), trusted_proxies=proxies))
    thread = threading.Thread(target=server.run, args=([listener],), name="gateway")
    thread.start()
    try:
        if not server.up.wait(START_SECONDS) or not server.started:
            raise RuntimeError(f"the gateway did not start: {log.getvalue()}")
        yield Running(f"http://127.0.0.1:{listener.getsockname()[1]}", settings, app, log)
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()


class _Server(GatewayServer):
    def __init__(self, config: ServerConfig) -> None:
        super().__init__(config)
        self.up = threading.Event()

    async def startup(self, sockets: Any = None) -> None:
        try:
            await super().startup(sockets)
        finally:
            self.up.set()


class GatewayProcess(Served):
    """`gateway serve` as a process of its own, to be killed or drained.

    It is forked where its imports end, unless `anew` is asked for.
    """

    def __init__(self, tables: Overrides, folder: Path, *, anew: bool = False) -> None:
        super().__init__("")
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "gateway.toml"
        config.write_text(toml(tables))
        self.log = folder / "gateway.log"
        with self.log.open("ab") as out:
            start = out.tell()
        self.process: ForkedProcess | subprocess.Popen[bytes] = (
            _executed(config, self.log)
            if anew
            else _forked(config, self.log, daemon=tables["server"].get("workers", 1) == 1)
        )
        self.url = self._wait_until_up(start)

    def _wait_until_up(self, start: int) -> str:
        waited = threading.Event()
        for _ in range(int(START_SECONDS / 0.05)):
            written = self.log.read_text()[start:]
            if found := re.search(r"serves at (\S+)", written):
                return found[1]
            if self.process.poll() is not None:
                break
            waited.wait(0.05)
        self.process.kill()
        raise RuntimeError(f"the gateway did not start:\n{self.log.read_text()[start:]}")

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def stop(self, timeout: float = 30.0) -> int:
        """SIGTERM, and wait; gives the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def __enter__(self) -> GatewayProcess:
        return self

    def __exit__(self, *failure: object) -> None:
        if self.process.poll() is None:
            self.kill()


def _forked(config: Path, log: Path, *, daemon: bool) -> ForkedProcess:
    return ForkedProcess(["serve", "--config", str(config)], _environment(), log, daemon=daemon)


def _executed(config: Path, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "gateway", "serve", "--config", str(config)]
    with log.open("ab") as out:
        return subprocess.Popen(command, stdout=out, stderr=out, env=_environment())


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}


def toml(tables: Overrides) -> str:
    lines = []
    for section, values in tables.items():
        lines.append(f"[{section}]")
        lines += [f"{name} = {_value(value)}" for name, value in values.items()]
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(each) for each in value) + "]"
    return str(value) if isinstance(value, (int, float)) else f'"{value}"'
