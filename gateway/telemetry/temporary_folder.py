"""A folder that lives as long as its process, and is removed by the next one after a kill."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX, PARENT = "gateway-metrics-", "parent.lock"


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A new folder (0700), in use while this process, or another with a lock in it, lives."""
    _remove_abandoned(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    with (folder / "new").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (folder / "new").rename(folder / PARENT)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def is_locked(file: Path) -> bool:
    with file.open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _remove_abandoned(parent: Path) -> None:
    """Remove this user's folders that no process uses.

    The parent is open to all users: an entry of that name may be anything.
    """
    for file in parent.glob(f"{PREFIX}*/{PARENT}"):
        ours = file.parent.lstat().st_uid == os.geteuid() and file.is_file()
        if ours and not any(is_locked(lock) for lock in file.parent.glob("*.lock")):
            shutil.rmtree(file.parent, ignore_errors=True)
