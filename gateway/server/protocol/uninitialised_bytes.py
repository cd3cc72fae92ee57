"""Bytes objects that are filled after their creation, without zeroing or copying.

CPython's C API provides this: bytes created without a source may be written until other code
gets them.
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


def uninitialised(size: int) -> tuple[bytes, memoryview]:
    """Bytes of arbitrary content, at least 2, and a writable view of them.

    Write all of them before other code gets the bytes, and none afterwards. The view does not
    keep them alive.
    """
    if size < 2:
        raise ValueError("bytes objects shorter than 2 are shared")
    new = _allocate(None, size)
    return new, _view(_start(new), size, _WRITABLE)
