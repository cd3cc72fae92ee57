"""Bodies as files: bytes and text only, for their owner only, nothing ever unpickled.

diskcache pickles what is neither bytes nor text, so that who can write its folder can run
code in its reader. `BodyFiles` takes the place of its `Disk` and knows no pickles.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import diskcache

from gateway.cache.rules.entry import DamagedEntry

_NAME = re.compile(rb"[0-9a-f]{2}/[0-9a-f]{30}\.val")
_FOLDER = re.compile(r"[0-9a-f]{2}")
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_RAW, _FILE = 1, 2
"""diskcache's modes for a value that lies in the index itself, and for one in a binary file."""


class Written(NamedTuple):
    """Where a body went, as diskcache's columns: size, mode, filename, value."""

    size: int
    mode: int
    filename: str | None
    value: bytes | None


class Version(NamedTuple):
    """Which bytes a file held when it was read; another version needs another check."""

    inode: int
    bytes: int
    modified_ns: int
    changed_ns: int


class BodyFiles(diskcache.Disk):  # type: ignore[misc]  # diskcache has no types
    """diskcache's `Disk` for bytes only; every method it calls is replaced."""

    def put(self, key: object) -> tuple[str, bool]:
        if not isinstance(key, str):
            raise TypeError("a key must be text")
        return key, True

    def get(self, key: object, raw: object) -> str:
        if not isinstance(key, str) or not raw:
            raise DamagedEntry("the key is no text")
        return key

    def store(self, value: object, read: object, key: object = None) -> Written:
        """Write a body; small ones are left to the index. Raises OSError, leaving nothing."""
        if not isinstance(value, bytes) or read:
            raise TypeError("a body must be bytes")
        if len(value) < self.min_file_size:
            return Written(0, _RAW, None, value)
        name = secrets.token_hex(16)
        filename = f"{name[:2]}/{name[2:]}.val"
        _write_whole(self._path(filename), value)
        return Written(len(value), _FILE, filename, None)

    def fetch(self, mode: object, filename: object, value: object, read: object) -> bytes:
        """A body by its columns. Raises DamagedEntry, OSError."""
        if read:
            raise TypeError("a body is read whole")
        return self.load(mode, filename, value)[0]

    def load(
        self, mode: object, filename: object, value: object, body_bytes: int | None = None
    ) -> tuple[bytes, Version | None]:
        """A body, and its file's version if it is in one.

        Raises DamagedEntry, before reading a file that has not `body_bytes`, and OSError.
        """
        if mode == _RAW and isinstance(value, bytes):
            return value, None
        if mode != _FILE:
            raise DamagedEntry(f"mode {mode!r} is none of ours")
        return _read_whole(self._path(filename), body_bytes)

    def remove(self, file_path: object) -> None:
        """Remove a body's file, if there is one; a name that is not ours is left alone."""
        with contextlib.suppress(DamagedEntry, FileNotFoundError):
            os.unlink(self._path(file_path))

    def folders(self) -> list[str]:
        """The sub-folders that hold bodies."""
        return sorted(name for name in os.listdir(self._directory) if _FOLDER.fullmatch(name))

    def older_than(self, folder: str, unix_seconds: float) -> Iterator[str]:
        """Names of bodies in a sub-folder that were last written before a moment."""
        with os.scandir(Path(self._directory, folder)) as listing:
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
            raise DamagedEntry("the file's name is none of ours")
        return f"{self._directory}/{name.decode()}"


def make_private_folder(path: Path) -> None:
    """A folder of mode 0700, whatever the umask; one that is already there is left as it is."""
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


def _read_whole(path: str, body_bytes: int | None) -> tuple[bytes, Version]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise DamagedEntry("it is no regular file")
        if body_bytes is not None and facts.st_size != body_bytes:
            raise DamagedEntry(f"the file has {facts.st_size} bytes, not {body_bytes}")
        version = Version(facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
        return os.read(descriptor, facts.st_size), version
    finally:
        os.close(descriptor)
