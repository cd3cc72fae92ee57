"""Temporary files of tests in memory, where the machine has a file system for that.

No test pulls the machine's plug, so nothing needs to reach a disk: to wait for one took as long as
all else that the start of a gateway does.
"""

from __future__ import annotations

import os
import tempfile

MEMORY = "/dev/shm"
BYTES = 4 << 30
"""What must be free; a run uses a quarter of it."""


def keep_files_in_memory() -> None:
    """Unless TMPDIR says where temporary files are to lie."""
    if "TMPDIR" not in os.environ and _is_fit():
        os.environ["TMPDIR"] = tempfile.tempdir = MEMORY


def _is_fit() -> bool:
    """Big enough, and programs run from there, which containers often forbid."""
    try:
        found = os.statvfs(MEMORY)
    except OSError:
        return False
    runs = not found.f_flag & os.ST_NOEXEC
    return runs and found.f_bavail * found.f_frsize >= BYTES and os.access(MEMORY, os.W_OK)
