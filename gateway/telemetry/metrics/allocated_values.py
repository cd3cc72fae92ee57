"""Numbers in a mapped file that a full disk does no harm to."""

from __future__ import annotations

import os

from prometheus_client.mmap_dict import MmapedDict

_FIRST_BYTES = 1 << 16
_MOST_BESIDE_KEY = 28  # its length, padding, value and time


class AllocatedValues(MmapedDict):
    """prometheus-client's file of values, with every block allocated before it is mapped.

    The library's own has holes. To write into one while the disk is full is SIGBUS, which ends the
    process and the calls in flight. Here a number that finds no room stays in its process, and is
    written once there is room.
    """

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        if not read_mode:
            with open(filename, "ab") as file:
                size = os.fstat(file.fileno()).st_size
                os.posix_fallocate(file.fileno(), 0, max(size, _FIRST_BYTES))
        super().__init__(filename, read_mode)  # type: ignore[no-untyped-call]

    def read_value(self, key: str) -> tuple[float, float]:
        if not self._has_room(key):
            return 0.0, 0.0
        value, time = super().read_value(key)  # type: ignore[no-untyped-call]
        return value, time

    def write_value(self, key: str, value: float, timestamp: float) -> None:
        if self._has_room(key):
            super().write_value(key, value, timestamp)  # type: ignore[no-untyped-call]

    def _has_room(self, key: str) -> bool:
        if key in self._positions:
            return True
        needed, capacity = self._used + len(key.encode()) + _MOST_BESIDE_KEY, self._capacity
        while capacity < needed:
            capacity *= 2
        try:
            os.posix_fallocate(self._f.fileno(), 0, capacity)
        except OSError:
            return False
        return True
