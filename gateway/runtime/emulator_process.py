"""The process of the sandbox's emulator, started again whenever it ends.

It decodes what clients upload, so it is given nothing of the gateway but a socket and pipes, and
its memory is bounded. The socket is the gateway's, so that its address stays. Standard input tells
the emulator its key, and by its end that the gateway has ended.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import sys
from asyncio.subprocess import PIPE, Process

from gateway.telemetry.log import EventLog

PROGRAM = "gateway.emulator.sandbox"
_START_SECONDS = 15.0
_LONGEST_PAUSE_SECONDS = 30.0


class EmulatorProcess:
    """The process, as long as `run` runs."""

    def __init__(self, memory_bytes: int, log: EventLog) -> None:
        self._memory_bytes = memory_bytes
        self._log = log
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._failed_starts = 0
        self._start: asyncio.Future[None] | None = None
        """The start in progress: done when it serves, or has ended."""
        self.api_key = secrets.token_hex(16)
        self.pid: int | None = None
        """Of the process that serves; None while none does."""

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    async def serves(self) -> bool:
        """Does it serve, if need be after the start in progress?"""
        if self._start:
            await asyncio.wait({self._start}, timeout=_START_SECONDS)
        return self.pid is not None

    async def run(self) -> None:
        """Start it, and start it again when it has ended, until cancelled."""
        try:
            while True:
                self._start = asyncio.get_running_loop().create_future()
                self._failed_starts += 1
                try:
                    reason: object = await self._live(self._start)
                except OSError as error:  # no memory, or no descriptor
                    reason = error.strerror
                if not self._start.done():
                    self._start.set_result(None)
                pause = min(_LONGEST_PAUSE_SECONDS, 2.0**self._failed_starts - 1)
                facts = {"status": reason, "again_in_seconds": pause}
                self._log.warning("the sandbox's emulator has ended", **facts)
                await asyncio.sleep(pause)
        finally:
            self._listener.close()

    async def _live(self, start: asyncio.Future[None]) -> int | None:
        """One life of the process; its exit status."""
        process = await self._begin()
        try:
            if await _serves(process):
                self.pid, self._failed_starts = process.pid, 0
                start.set_result(None)
                await process.wait()
        finally:
            self.pid = None
            if process.returncode is None:
                process.kill()
                await process.wait()
        return process.returncode

    async def _begin(self) -> Process:
        listener = self._listener.fileno()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", PROGRAM, str(listener), str(self._memory_bytes)),
            stdin=PIPE,
            stdout=PIPE,
            pass_fds=(listener,),
            env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},  # no keys, no settings
            start_new_session=True,  # Ctrl-C is the gateway's, which ends it last
        )
        if process.stdin:
            process.stdin.write(f"{self.api_key}\n".encode())
        return process


async def _serves(process: Process) -> bool:
    """Has it said in time that it serves?"""
    said = process.stdout.readline() if process.stdout else asyncio.sleep(0, b"")
    try:
        return bool(await asyncio.wait_for(said, _START_SECONDS))
    except TimeoutError:
        return False
