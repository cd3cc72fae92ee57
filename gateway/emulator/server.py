"""Serves the emulator: in the foreground, or on a thread beside a test or a demo."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Self, TypeVar

import uvicorn

from gateway.emulator.app import create_app
from gateway.emulator.billing import Charge, Stats
from gateway.emulator.emulator import Emulator, EmulatorSettings
from gateway.emulator.sockets import ReachableProtocol
from gateway.emulator.wires import WIRES

Result = TypeVar("Result")

_START_SECONDS = 10.0


def run(
    settings: EmulatorSettings | None = None, host: str = "127.0.0.1", port: int = 8081
) -> None:
    """Serve in the foreground until interrupted. Raises OSError if the port is taken."""
    listener = _listener(host, port)
    with contextlib.suppress(KeyboardInterrupt):
        _Server(settings or EmulatorSettings()).run(sockets=[listener])


class EmulatorServer:
    """An emulator on a thread of its own, over a real socket, as a context manager.

    `port` 0 takes a free one. After `stop` the books can still be read.
    """

    def __init__(
        self, settings: EmulatorSettings | None = None, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self.settings = settings or EmulatorSettings()
        self._host = host
        self._port = port
        self._server = _Server(self.settings)
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen and serve. Raises OSError if the port is taken."""
        listener = _listener(self._host, self._port)
        self._port = listener.getsockname()[1]
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name="emulator", daemon=True
        )
        self._thread.start()
        if not self._server.serving.wait(_START_SECONDS):
            raise RuntimeError("The emulator did not start.")

    def stop(self) -> None:
        """End everything, calls that hang too, within two seconds; may be called twice."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()

    @property
    def origin(self) -> str:
        """The address without a path, for example http://127.0.0.1:40123."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    @property
    def base_url(self) -> str:
        """The base URL for SDKs and the gateway: with /v1, or what the wire has in its place."""
        return f"{self.origin}{WIRES[self.settings.api].base_path}"

    @property
    def api_key(self) -> str:
        """A key that is accepted."""
        return self.settings.keys[0]

    def stats(self) -> Stats:
        return self._inside(lambda emulator: emulator.books.stats())

    def statement(self) -> list[Charge]:
        """One row per billed call."""
        return self._inside(lambda emulator: list(emulator.books.charges))

    def order(
        self, *next_calls: Mapping[str, object], always: Mapping[str, object] | None = None
    ) -> None:
        """Order faults: knobs for each coming call in turn, and for all calls."""
        self._inside(lambda emulator: emulator.faults.plan(next_calls, always))

    def clear_faults(self) -> None:
        self._inside(lambda emulator: emulator.faults.clear())

    def release(self) -> int:
        """Let the calls that hang continue; returns their number."""
        return self._inside(lambda emulator: emulator.waits.release())

    def reset(self) -> None:
        """As after a start: no faults, empty books."""
        self._inside(lambda emulator: emulator.reset())

    def _inside(self, look: Callable[[Emulator], Result]) -> Result:
        """Run on the emulator's event loop, since its state belongs to that."""
        loop, emulator = self._server.loop, self._server.emulator
        if loop is None or self._thread is None or not self._thread.is_alive():
            return look(emulator)

        async def look_there() -> Result:
            return look(emulator)

        return asyncio.run_coroutine_threadsafe(look_there(), loop).result(_START_SECONDS)


class _Server(uvicorn.Server):
    """uvicorn with the emulator's protocol; it does not wait for calls that hang."""

    def __init__(self, settings: EmulatorSettings) -> None:
        app = create_app(settings)
        self.emulator: Emulator = app.state.emulator
        self.loop: asyncio.AbstractEventLoop | None = None
        self.serving = threading.Event()
        super().__init__(
            uvicorn.Config(
                app,
                http=ReachableProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level=None,
                server_header=False,
                timeout_graceful_shutdown=1,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self.serving.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.emulator.waits.close()
        await super().shutdown(sockets)


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048)
