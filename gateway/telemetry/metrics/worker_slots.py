"""Metrics of several worker processes, in one folder that lives as long as their parent.

prometheus-client's multiprocess mode keeps a process's values in files that every other process
can read. Here they go by a *seat* instead of a process id: a worker takes the lowest seat that
is free and goes on with the counters that it finds there, so that a worker that dies loses none
of them and a thousand that come after it add no file. A seat is a locked file: the system itself
frees it, however its process ended.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO

from prometheus_client import Metric, values
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

PREFIX, PARENT = "gateway-metrics-", "parent.lock"
LIBRARYS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Where prometheus-client is told of the folder; there is no other way to tell it."""


@contextmanager
def shared_folder(workers: int) -> Iterator[str]:
    """A fresh folder (0700) for the metrics of several workers; empty text for a single one."""
    if workers == 1:
        yield ""
        return
    _sweep(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    with (folder / "new").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (folder / "new").rename(folder / PARENT)
        try:
            yield str(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _sweep(place: Path) -> None:
    """Folders that no process uses any more; what is another user's is not ours to touch.

    Anybody may lay something under such a name into the place, which is open to all.
    """
    for file in place.glob(f"{PREFIX}*/{PARENT}"):
        ours = file.parent.lstat().st_uid == os.geteuid() and file.is_file()
        if ours and not any(_is_locked(lock) for lock in file.parent.glob("*.lock")):
            shutil.rmtree(file.parent, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class WorkerSlot:
    """A worker's place in the folder, its own until it ends. `lock` is held open for that."""

    folder: Path
    number: int
    lock: IO[bytes]

    def labels(self) -> Iterator[Mapping[str, str]]:
        """The labels of every value that any worker has kept so far."""
        for file in _files(self.folder):
            for key, *_ in MmapedDict.read_all_values_from_file(str(file)):
                yield json.loads(key)[2]


def take_worker_slot(folder: str) -> WorkerSlot:
    """Take a seat, and have every meter that this process makes from now on kept there."""
    path = Path(folder)
    with _door(path, fcntl.LOCK_EX):
        seat = next(seat for number in count() if (seat := _try(path, number)))
        for left in path.glob(f"gauge_*_{seat.number}.db"):
            left.unlink()  # of who sat here before: what it had in hand went with it
    os.environ[LIBRARYS_VARIABLE] = folder
    values.ValueClass = values.MultiProcessValue(lambda: seat.number)
    return seat


def _try(folder: Path, number: int) -> WorkerSlot | None:
    lock = _lock_of(folder, number).open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return WorkerSlot(folder, number, lock)


class SlotFiles(Collector):
    """The values of all workers: counters of those that are gone too, gauges of the living."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        with _door(self._folder, fcntl.LOCK_SH):  # nobody takes a seat while they are counted
            files = [
                str(file)
                for file in _files(self._folder)
                if not file.name.startswith("gauge_") or self._is_taken(file)
            ]
            found = MultiProcessCollector.merge(files)
        yield from found

    def _is_taken(self, file: Path) -> bool:
        return _is_locked(_lock_of(self._folder, int(file.stem.rpartition("_")[2])))


def _is_locked(file: Path) -> bool:
    with file.open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _files(folder: Path) -> list[Path]:
    """The files of values; one that is only just being made has none, and can't be read."""
    return [file for file in sorted(folder.glob("*.db")) if file.stat().st_size]


def _lock_of(folder: Path, number: int) -> Path:
    return folder / f"seat_{number}.lock"


@contextmanager
def _door(folder: Path, kind: int) -> Iterator[None]:
    """Seats are taken by one process at a time, and not while somebody counts who sits."""
    with (folder / "door.lock").open("ab") as door:
        fcntl.flock(door, kind)
        yield
