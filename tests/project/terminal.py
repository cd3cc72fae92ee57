"""A terminal with a shell in it, in which a test types what a guide prints."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

DONE = "typed-and-done"
FAILED = "FAILED:"
SETUP = f"""\
stty -echo
set -o pipefail
trap 'echo "{FAILED} $BASH_COMMAND"' ERR
"""


class Terminal:
    """An interactive bash on a pseudo-terminal, so that Ctrl-C and jobs work as for a reader."""

    def __init__(
        self, folder: Path, environment: Mapping[str, str], inside: Sequence[str] = ()
    ) -> None:
        self._fd, end = pty.openpty()
        self._process = subprocess.Popen(
            ["setsid", "--ctty", *inside, "bash", "--norc", "--noprofile", "--noediting", "-i"],
            stdin=end, stdout=end, stderr=end, cwd=folder,
            env={**environment, "PS1": "", "PS2": ""},
        )  # fmt: skip
        os.close(end)
        self.type(SETUP)

    def type(self, text: str, timeout_seconds: float = 600) -> str:
        """Type these lines and wait until they have run. Returns what the terminal showed."""
        self.start(f"{text.rstrip()}\necho {DONE[:5]}''{DONE[5:]}\n")
        return self._read_until(DONE, timeout_seconds)

    def start(self, text: str) -> None:
        """Type these lines without waiting for them."""
        os.write(self._fd, text.encode())

    def interrupt(self) -> str:
        """Press Ctrl-C. Returns what the program in the foreground showed until it ended."""
        os.write(self._fd, b"\x03")
        return self.type("")

    def close(self) -> None:
        """End what runs in it, then close the window."""
        try:
            self.start("\x03\n{ kill $(jobs -p); exit; } 2>/dev/null\n")
            self._process.wait(timeout=60)
        finally:
            os.close(self._fd)

    def _read_until(self, wanted: str, timeout_seconds: float) -> str:
        shown, deadline = b"", time.monotonic() + timeout_seconds
        while wanted.encode() not in shown:
            ready, _, _ = select.select([self._fd], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError(f"no {wanted!r} after:\n{shown.decode(errors='replace')}")
            shown += os.read(self._fd, 65536)
        return shown.decode(errors="replace").replace("\r", "").rpartition(wanted)[0]
