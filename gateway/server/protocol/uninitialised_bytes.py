"""Bytes that are written once they are there: what megabytes are received into.

Python's own ways would zero them first, copy them afterwards, or both. These are the steps that
CPython's C API has for it: bytes made of no text may be written until somebody else has them.
"""

from __future__ import annotations

import ctypes

_WRITABLE = 0x200
_allocate = ctypes.pythonapi.PyBytes_FromStringAndSize
_allocate.restype = ctypes.py_object
_allocate.argtypes = [ctypes.c_void_p, ctypes.c_ssize_t]
_start = ctypes.pythonapi.PyBytes_AsString
_start.restype = ctypes.c_void_p
_start.argtypes = [ctypes.py_object]
_view = ctypes.pythonapi.PyMemoryView_FromMemory
_view.restype = ctypes.py_object
_view.argtypes = [ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int]


def blank(size: int) -> tuple[bytes, memoryview]:
    """Bytes of this size, at least 2, that hold anything at all, and where to write them.

    Hand them on only once every one of them is written, and write no more after that. The view
    does not keep them alive.
    """
    if size < 2:
        raise ValueError("bytes so short are shared by all who have them")
    new = _allocate(None, size)
    return new, _view(_start(new), size, _WRITABLE)
