"""How the C library's allocator treats blocks of megabytes, which is what a gateway moves.

By itself it gives each back to the system at once, and has it mapped, zeroed and faulted in
again for the next: of a hit that took a quarter of the time (measured; see the benchmarks).
"""

from __future__ import annotations

import ctypes
from typing import Any

KEPT_BYTES = 16 << 20
"""So much free memory is kept at the heap's end; of more, all but half of this is given back.

By itself glibc would give back everything: under load to have it back at the next request.
"""
LARGEST_BYTES = 32 << 20
"""Larger blocks are mapped on their own, as before; glibc takes no higher bound."""
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8


def keep_large_blocks() -> bool:
    """Have freed blocks used again. Of the whole process; False where the C library can't.

    To be called before there is a second thread: an arena that is there by then stays in use.
    """
    mallopt = _of_libc("mallopt")
    if mallopt is None:
        return False
    # One arena for all threads: they hold Python's lock anyway, and each arena keeps its own.
    wanted = {
        _MMAP_THRESHOLD: LARGEST_BYTES,
        _TRIM_THRESHOLD: KEPT_BYTES,
        _TOP_PAD: KEPT_BYTES // 2,
        _ARENA_MAX: 1,
    }
    return all(mallopt(option, value) == 1 for option, value in wanted.items())


def give_back() -> None:
    """Give free memory back that lies between what is in use. Takes milliseconds: not in a loop.

    One small block that outlives a peak keeps the heap's end where the peak has put it: 64
    uploads left 150 MB behind them, which `free` alone never gives back.
    """
    malloc_trim = _of_libc("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(ctypes.c_size_t(KEPT_BYTES // 2))


def _of_libc(name: str) -> Any:
    """A function of the C library that not every one has; None where this one hasn't."""
    return getattr(ctypes.CDLL(None), name, None)
