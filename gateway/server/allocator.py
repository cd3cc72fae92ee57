"""Settings of the C library's allocator (glibc) for blocks of megabytes.

By default it returns each block to the system when it is freed, and maps and zeroes a new one for
the next: a quarter of the time of a hit (measured; see the benchmarks).
"""

from __future__ import annotations

import ctypes
from typing import Any

KEPT_BYTES = 16 << 20
"""Free memory kept at the end of the heap. Of more, all but half of this is returned."""
LARGEST_BYTES = 32 << 20
"""Larger blocks are mapped on their own; glibc accepts no higher value."""
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8


def keep_large_blocks() -> bool:
    """Reuse freed blocks, in the whole process; False if the C library has no such setting.

    Call it before a second thread starts: an arena that exists by then stays in use.
    """
    mallopt = _libc_function("mallopt")
    if mallopt is None:
        return False
    # One arena for all threads: Python's lock serialises them, and each arena keeps free memory.
    wanted = {
        _MMAP_THRESHOLD: LARGEST_BYTES,
        _TRIM_THRESHOLD: KEPT_BYTES,
        _TOP_PAD: KEPT_BYTES // 2,
        _ARENA_MAX: 1,
    }
    return all(mallopt(option, value) == 1 for option, value in wanted.items())


def give_back() -> None:
    """Return free memory between blocks in use to the system. Takes milliseconds.

    `free` returns only the end of the heap: one small block that outlived a peak of 64 uploads
    kept 150 MB.
    """
    malloc_trim = _libc_function("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(ctypes.c_size_t(KEPT_BYTES // 2))


def _libc_function(name: str) -> Any:
    """A function of the C library; None if it has none of that name."""
    return getattr(ctypes.CDLL(None), name, None)
