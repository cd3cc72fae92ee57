"""Metrics of several worker processes, in one folder that lives as long as their parent.

In prometheus-client's multiprocess mode, each process keeps its values in files that the others
read. Here a file belongs to a *slot* instead of a process id: a worker takes the lowest free slot
and continues the counters it finds there, so a worker that dies loses none, and its successors add
no files. A slot is a locked file: the system frees it, however its process ended.
"""

from __future__ import annotations

import fcntl
import json
import os
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

from gateway.telemetry.metrics.allocated_values import AllocatedValues
from gateway.telemetry.temporary_folder import is_locked, temporary_folder

LIBRARY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""prometheus-client takes the folder from this variable only."""


@contextmanager
def shared_folder(workers: int) -> Iterator[str]:
    """A new folder (0700) for the metrics of several workers; empty text for a single one."""
    if workers == 1:
        yield ""
        return
    with temporary_folder() as folder:
        yield str(folder)


@dataclass(frozen=True, slots=True)
class WorkerSlot:
    """A worker's slot in the folder. `lock` stays open until the process ends."""

    folder: Path
    number: int
    lock: IO[bytes]

    def labels(self) -> Iterator[Mapping[str, str]]:
        """The labels of every value that any worker has stored so far."""
        for file in _value_files(self.folder):
            for key, *_ in MmapedDict.read_all_values_from_file(str(file)):
                yield json.loads(key)[2]


def take_worker_slot(folder: str) -> WorkerSlot:
    """Take a slot, and store there every metric that this process creates from now on."""
    path = Path(folder)
    with _slots_locked(path, fcntl.LOCK_EX):
        slot = next(slot for number in count() if (slot := _try(path, number)))
        for left in path.glob(f"gauge_*_{slot.number}.db"):
            left.unlink()  # gauges of a dead predecessor no longer hold
    os.environ[LIBRARY_VARIABLE] = folder
    values.MmapedDict = AllocatedValues  # type: ignore[attr-defined]
    values.ValueClass = values.MultiProcessValue(lambda: slot.number)
    return slot


def _try(folder: Path, number: int) -> WorkerSlot | None:
    lock = _lock_of(folder, number).open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return WorkerSlot(folder, number, lock)


class SlotFiles(Collector):
    """The values of all workers: counters of dead workers included, gauges of live ones only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        with _slots_locked(self._folder, fcntl.LOCK_SH):
            files = [
                str(file)
                for file in _value_files(self._folder)
                if not file.name.startswith("gauge_") or self._is_taken(file)
            ]
            found = MultiProcessCollector.merge(files)
        yield from found

    def _is_taken(self, file: Path) -> bool:
        return is_locked(_lock_of(self._folder, int(file.stem.rpartition("_")[2])))


def _value_files(folder: Path) -> list[Path]:
    """The files of values, without those that are just being created: they are unreadable."""
    return [file for file in sorted(folder.glob("*.db")) if file.stat().st_size]


def _lock_of(folder: Path, number: int) -> Path:
    return folder / f"slot_{number}.lock"


@contextmanager
def _slots_locked(folder: Path, kind: int) -> Iterator[None]:
    """Slots are taken by one process at a time, and not while values are collected."""
    with (folder / "slots.lock").open("ab") as lock:
        fcntl.flock(lock, kind)
        yield
