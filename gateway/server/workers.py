"""Several processes that serve on one socket: one that dies is replaced, all stop together."""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.connection import Connection as Line
from multiprocessing.context import SpawnProcess

from gateway.server.protocol.connection import Configured
from gateway.server.uvicorn_server import GatewayServer

STOP, HURRY, STARTED = "stop", "hurry", "started"
AGAIN_SECONDS = 1.0
"""A process that died young is replaced no sooner: it may die of what has not changed."""
HURRY_SECONDS = 10.0
_SPAWN = multiprocessing.get_context("spawn")


@dataclass
class Worker:
    """A process, and the line to it: it stops when told over the line, or when that breaks."""

    process: SpawnProcess
    line: Line
    begun: float
    started: bool = False

    def tell(self, word: str) -> None:
        try:
            self.line.send(word)
        except OSError:
            return  # it is gone already


class Workers:
    """The parent of the processes that serve."""

    def __init__(
        self,
        config: Configured,
        listener: socket.socket,
        number: int,
        on_started: Callable[[], None],
        on_died: Callable[[int, int], None],
    ) -> None:
        self._config = config
        self._listener = listener
        self._number = number
        self._on_started = on_started
        self._on_died = on_died
        self._workers: list[Worker] = []
        self._signals: list[int] = []
        self._announced = False
        self._stopping = False
        self._kill_at: float | None = None

    def run(self) -> bool:
        """Until told to stop and all have ended; False where none has ever started."""
        alarm, ring = socket.socketpair()
        for end in (alarm, ring):
            end.setblocking(False)
        signal.set_wakeup_fd(ring.fileno())
        self._listen_to_signals()
        self._workers = [self._start() for _ in range(self._number)]
        while self._workers:
            self._wait(alarm)
            self._obey()
            self._bury()
        signal.set_wakeup_fd(-1)
        return self._announced

    def _listen_to_signals(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda number, _: self._signals.append(number))

    def _start(self) -> Worker:
        ours, theirs = _SPAWN.Pipe()
        process = _SPAWN.Process(target=work, args=(self._config, self._listener, theirs))
        process.start()
        theirs.close()
        return Worker(process, ours, time.monotonic())

    def _wait(self, alarm: socket.socket) -> None:
        """Until a signal comes, a worker has started or one has ended; or for a moment."""
        lines = [worker.line for worker in self._workers if not worker.started]
        ends = [worker.process.sentinel for worker in self._workers]
        ready = connection.wait([alarm, *lines, *ends], timeout=AGAIN_SECONDS)
        if alarm in ready:
            alarm.recv(4096)
        for worker in self._workers:
            if worker.line in ready and not worker.started:
                worker.started = _says_started(worker.line)
        if not self._announced and all(worker.started for worker in self._workers):
            self._announced = True
            self._on_started()

    def _obey(self) -> None:
        while self._signals:
            number = self._signals.pop(0)
            if not self._stopping:
                self._stop()
            elif number == signal.SIGINT:
                self._kill_at = time.monotonic() + HURRY_SECONDS
                for worker in self._workers:
                    worker.tell(HURRY)
        if self._kill_at and time.monotonic() > self._kill_at:
            for worker in self._workers:
                worker.process.kill()

    def _stop(self) -> None:
        self._stopping = True
        for worker in self._workers:
            worker.tell(STOP)
        self._listener.close()  # the workers have their own

    def _bury(self) -> None:
        """Replace who has died; who never lived at all will not do so next time either."""
        for worker in [each for each in self._workers if each.process.exitcode is not None]:
            self._workers.remove(worker)
            worker.line.close()
            pid, status = worker.process.pid or 0, worker.process.exitcode or 0
            worker.process.close()
            if self._stopping:
                continue
            if not self._announced:
                self._stop()
                continue
            self._on_died(pid, status)
            time.sleep(max(0.0, worker.begun + AGAIN_SECONDS - time.monotonic()))
            self._workers.append(self._start())


def _says_started(line: Line) -> bool:
    try:
        return bool(line.recv() == STARTED)
    except (EOFError, OSError):
        return False  # it has died; its end says so too


def work(config: Configured, listener: socket.socket, line: Line) -> None:
    """A worker's process, from its beginning to its end."""
    config.configure_logging()
    server = Workman(config, line)
    server.run_until_told(listener)


class Workman(GatewayServer):
    """The server of a worker, which listens to its parent too.

    What a parent says is meant for all, so that the port stays open until the last is done. A
    SIGTERM of its own retires this one: the others accept what comes.
    """

    def __init__(self, config: Configured, line: Line) -> None:
        super().__init__(config, lambda: line.send(STARTED))
        self._line = line

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().add_reader(self._line.fileno(), self._hear)
        await super().startup(sockets)

    def _hear(self) -> None:
        try:
            word = self._line.recv()
        except (EOFError, OSError):  # the parent is gone: nobody would replace or stop this one
            asyncio.get_running_loop().remove_reader(self._line.fileno())
            word = STOP
        if word == HURRY:
            self.hurry()
        self.retiring = False
        self.should_exit = True

    def handle_exit(self, sig: int, frame: object) -> None:
        self.retiring = self.retiring or (sig == signal.SIGTERM and not self.should_exit)
        super().handle_exit(sig, None)
