"""Bodies as files: bytes only, readable by their owner only, never unpickled."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gateway.cache.rules.entry import DamagedEntry

INLINE_BELOW_BYTES = 16_384
"""Smaller bodies are kept in the index: measured, reading a file is as fast from here on."""
_NAME = re.compile(rb"[0-9a-f]{2}/[0-9a-f]{30}\.val")
_FOLDER = re.compile(r"[0-9a-f]{2}")
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_INLINE, _FILE = 1, 2


class BodyLocation(NamedTuple):
    """Where a body is stored, as columns of the index. `size` counts bytes in files only."""

    size: int
    mode: int
    filename: str | None
    value: bytes | None


class FileVersion(NamedTuple):
    """Identifies the content of a file at the time it was read."""

    inode: int
    bytes: int
    modified_ns: int
    changed_ns: int


class BodyFiles:
    """The files of bodies in a folder of results."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, body: bytes) -> BodyLocation:
        """Write a body; a small one is left to the index. Raises OSError, leaving nothing."""
        if len(body) < INLINE_BELOW_BYTES:
            return BodyLocation(0, _INLINE, None, body)
        name = secrets.token_hex(16)
        filename = f"{name[:2]}/{name[2:]}.val"
        _write_whole(self._path(filename), body)
        return BodyLocation(len(body), _FILE, filename, None)

    def read(
        self, mode: object, filename: object, value: object, body_bytes: int
    ) -> tuple[bytes, FileVersion | None]:
        """A body, and its file's version if it is in a file.

        Raises DamagedEntry, before reading a file that has not `body_bytes`, and OSError.
        """
        if mode == _INLINE and isinstance(value, bytes):
            return value, None
        if mode != _FILE:
            raise DamagedEntry(f"unknown mode {mode!r}")
        return _read_whole(self._path(filename), body_bytes)

    def remove(self, filename: object) -> None:
        """Remove a body's file if it exists; any other name is ignored."""
        with contextlib.suppress(DamagedEntry, FileNotFoundError):
            os.unlink(self._path(filename))

    def folders(self) -> list[str]:
        """The sub-folders that hold bodies."""
        return sorted(name for name in os.listdir(self._folder) if _FOLDER.fullmatch(name))

    def older_than(self, folder: str, unix_seconds: float) -> Iterator[str]:
        """Names of the bodies in a sub-folder that were last written before then."""
        with os.scandir(self._folder / folder) as listing:
            for found in listing:
                name = f"{folder}/{found.name}"
                with contextlib.suppress(FileNotFoundError):
                    ours = _NAME.fullmatch(os.fsencode(name))
                    if ours and found.stat(follow_symlinks=False).st_mtime < unix_seconds:
                        yield name

    def _path(self, filename: object) -> str:
        """Raises DamagedEntry for a name that this class did not make, such as ../../x."""
        name = filename.encode() if isinstance(filename, str) else filename
        if not isinstance(name, bytes) or not _NAME.fullmatch(name):
            raise DamagedEntry("invalid file name")
        return f"{self._folder}/{name.decode()}"


def make_private_folder(path: Path) -> None:
    """Create a folder of mode 0700, whatever the umask; an existing one is left unchanged."""
    with contextlib.suppress(FileExistsError):
        path.mkdir(0o700)
        path.chmod(0o700)


def _write_whole(path: str, body: bytes) -> None:
    try:
        descriptor = os.open(path, _NEW, 0o600)
    except FileNotFoundError:
        make_private_folder(Path(path).parent)
        descriptor = os.open(path, _NEW, 0o600)
    try:
        os.fchmod(descriptor, 0o600)  # whatever the umask left of it
        rest = memoryview(body)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except BaseException:
        os.unlink(path)
        raise
    finally:
        os.close(descriptor)


def _read_whole(path: str, body_bytes: int) -> tuple[bytes, FileVersion]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise DamagedEntry("not a regular file")
        if facts.st_size != body_bytes:
            raise DamagedEntry(f"the file has {facts.st_size} bytes, not {body_bytes}")
        version = FileVersion(facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
        return os.read(descriptor, facts.st_size), version
    finally:
        os.close(descriptor)
