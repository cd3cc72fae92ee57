"""A server as a process of its own, and what it used: CPU and memory, children included."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
STOP_SECONDS = 20


class NotStarted(Exception):
    """A server did not come up; the text says why, in one line."""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Process:
    """A running server."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        url: str,
        log: Path,
        environment: Mapping[str, str] | None = None,
        ready: str = "/v1/models",
        patience_seconds: float = 30.0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Starts it and waits until `ready` answers anything. Raises NotStarted."""
        self.url = url
        began = time.perf_counter()
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                command,
                stdout=out,
                stderr=out,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        try:
            self._wait(url + ready, headers or {}, patience_seconds, log)
        except NotStarted:
            self.stop()
            raise
        self.start_seconds = time.perf_counter() - began

    def _wait(
        self, url: str, headers: Mapping[str, str], patience_seconds: float, log: Path
    ) -> None:
        deadline = time.monotonic() + patience_seconds
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(urllib.request.Request(url, headers=dict(headers))):  # noqa: S310 - our own URL
                    return
            except urllib.error.HTTPError:
                return
            except OSError:
                time.sleep(0.02)
        lines = log.read_text(errors="replace").strip().splitlines()
        raise NotStarted(f"it did not start: {lines[-1] if lines else 'it wrote nothing'}")

    def cpu_seconds(self) -> float:
        """What it has used so far, with every process below it."""
        return sum(_cpu_seconds(pid) for pid in self._tree())

    def forget_peak(self) -> None:
        """From now on, `peak_bytes` is the peak since now."""
        for pid in self._tree():
            with contextlib.suppress(OSError):
                Path(f"/proc/{pid}/clear_refs").write_text("5")

    def peak_bytes(self) -> int:
        """The most memory it has held, the peaks of its processes added up."""
        return sum(_memory(pid, "VmHWM") for pid in self._tree())

    def memory_bytes(self) -> int:
        """The memory it holds."""
        return sum(_memory(pid, "VmRSS") for pid in self._tree())

    def stop(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is None:
                os.killpg(self._process.pid, number)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                continue
            return

    def _tree(self) -> list[int]:
        """Itself and everything below it."""
        found, wanted = [], [self._process.pid]
        while wanted:
            pid = wanted.pop()
            found.append(pid)
            for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
                wanted += map(int, tasks.read_text().split())
        return found


def _cpu_seconds(pid: int) -> float:
    try:
        facts = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(facts[11]) + int(facts[12])) / TICKS


def _memory(pid: int, name: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    found = next((line for line in lines if line.startswith(name)), f"{name}: 0 kB")
    return int(found.split()[1]) * 1024
