"""`gateway …` as a process that begins where its imports end: 0.1 s of the processor, not 1 s.

It is forked by a server process that has imported the command and does nothing else. Everything
after the imports is as in a process that was started anew: its signals, sockets, files and end.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["gateway.cli.serve", __name__])


def _run(arguments: Sequence[str], environment: Mapping[str, str], log: str) -> None:
    import gateway
    from gateway.cli import main

    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [str(Path(gateway.__file__).with_name("__main__.py")), *arguments]
    with Path(log).open("ab") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    main()


class ForkedProcess:
    """The part of `subprocess.Popen` that tests use.

    A daemon ends with the tests, whatever happens to them, and starts no processes of its own.
    """

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], log: Path, *, daemon: bool
    ) -> None:
        what = (list(arguments), dict(environment), str(log))
        self._process = _SERVER.Process(target=_run, args=what, daemon=daemon)
        self._process.start()
        assert self._process.pid, "or a signal would reach the tests themselves"
        self.pid: int = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        status = self.poll()
        if status is None:
            raise subprocess.TimeoutExpired("gateway", timeout or 0)
        return status
