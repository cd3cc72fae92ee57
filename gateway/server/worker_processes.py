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
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from gateway.server.protocol.connection import ServerConfig
from gateway.server.uvicorn_server import GatewayServer

STOP, ABORT, STARTED = "stop", "abort", "started"
RESTART_SECONDS = 1.0
"""The shortest life of a worker: one that dies sooner is replaced only then."""
ABORT_SECONDS = 10.0
_SPAWN = multiprocessing.get_context("spawn")


@dataclass
class WorkerProcess:
    """A process and the pipe to it; it stops on `STOP`, or when the pipe breaks."""

    process: SpawnProcess
    pipe: Connection
    started_at: float
    started: bool = False

    def send(self, command: str) -> None:
        try:
            self.pipe.send(command)
        except OSError:
            return  # it has ended


class WorkerSupervisor:
    """The parent of the worker processes."""

    def __init__(
        self,
        config: ServerConfig,
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
        self._workers: list[WorkerProcess] = []
        self._signals: list[int] = []
        self._announced = False
        self._stopping = False
        self._kill_at: float | None = None

    def run(self) -> bool:
        """Run until stopped and all workers have ended; False if they did not all start."""
        reader, writer = socket.socketpair()
        for end in (reader, writer):
            end.setblocking(False)
        signal.set_wakeup_fd(writer.fileno())
        self._handle_signals()
        self._workers = [self._start() for _ in range(self._number)]
        while self._workers:
            self._wait(reader)
            self._obey_signals()
            self._replace_dead()
        signal.set_wakeup_fd(-1)
        return self._announced

    def _handle_signals(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda number, _: self._signals.append(number))

    def _start(self) -> WorkerProcess:
        ours, theirs = _SPAWN.Pipe()
        process = _SPAWN.Process(target=run_worker, args=(self._config, self._listener, theirs))
        process.start()
        theirs.close()
        return WorkerProcess(process, ours, time.monotonic())

    def _wait(self, wakeup: socket.socket) -> None:
        """Wait for a signal, or for a worker to start or end; at most `RESTART_SECONDS`."""
        pipes = [worker.pipe for worker in self._workers if not worker.started]
        ends = [worker.process.sentinel for worker in self._workers]
        ready = connection.wait([wakeup, *pipes, *ends], timeout=RESTART_SECONDS)
        if wakeup in ready:
            wakeup.recv(4096)
        for worker in self._workers:
            if worker.pipe in ready and not worker.started:
                worker.started = _reports_started(worker.pipe)
        if not self._announced and all(worker.started for worker in self._workers):
            self._announced = True
            self._on_started()

    def _obey_signals(self) -> None:
        while self._signals:
            number = self._signals.pop(0)
            if not self._stopping:
                self._stop()
            elif number == signal.SIGINT:
                self._kill_at = time.monotonic() + ABORT_SECONDS
                for worker in self._workers:
                    worker.send(ABORT)
        if self._kill_at and time.monotonic() > self._kill_at:
            for worker in self._workers:
                worker.process.kill()

    def _stop(self) -> None:
        self._stopping = True
        for worker in self._workers:
            worker.send(STOP)
        self._listener.close()  # the workers have their own

    def _replace_dead(self) -> None:
        """Replace dead workers; if one dies before all have started, stop instead."""
        for worker in [each for each in self._workers if each.process.exitcode is not None]:
            self._workers.remove(worker)
            worker.pipe.close()
            pid, status = worker.process.pid or 0, worker.process.exitcode or 0
            worker.process.close()
            if self._stopping:
                continue
            if not self._announced:
                self._stop()
                continue
            self._on_died(pid, status)
            time.sleep(max(0.0, worker.started_at + RESTART_SECONDS - time.monotonic()))
            self._workers.append(self._start())


def _reports_started(pipe: Connection) -> bool:
    try:
        return bool(pipe.recv() == STARTED)
    except (EOFError, OSError):
        return False  # it has died


def run_worker(config: ServerConfig, listener: socket.socket, pipe: Connection) -> None:
    """The main function of a worker process."""
    config.configure_logging()
    WorkerServer(config, pipe).run_until_stopped(listener)


class WorkerServer(GatewayServer):
    """The server of a worker process, which also obeys the supervisor.

    The supervisor stops all workers: the port stays open until the last is done. A SIGTERM to
    one worker stops only that one, and the others accept new connections.
    """

    def __init__(self, config: ServerConfig, pipe: Connection) -> None:
        super().__init__(config, lambda: pipe.send(STARTED))
        self._pipe = pipe

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().add_reader(self._pipe.fileno(), self._obey_supervisor)
        await super().startup(sockets)

    def _obey_supervisor(self) -> None:
        try:
            command = self._pipe.recv()
        except (EOFError, OSError):  # the supervisor has died: an orphan would run on unwatched
            asyncio.get_running_loop().remove_reader(self._pipe.fileno())
            command = STOP
        if command == ABORT:
            self.abort()
        self.retiring = False
        self.should_exit = True

    def handle_exit(self, sig: int, frame: object) -> None:
        self.retiring = self.retiring or (sig == signal.SIGTERM and not self.should_exit)
        super().handle_exit(sig, None)
