"""Pictures handed out by address (`response_format=url`), for a short while."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict

from gateway.emulator.pixels import Encoded

KEPT_SECONDS = 300
_KEPT_FILES = 64


class Files:
    """The last few pictures, under names nobody can guess."""

    def __init__(self) -> None:
        self._files: OrderedDict[str, tuple[Encoded, float]] = OrderedDict()

    def keep(self, picture: Encoded) -> str:
        """Keep a picture; gives the name it can be found by."""
        name = f"{secrets.token_hex(12)}.{picture.format}"
        self._files[name] = picture, time.monotonic() + KEPT_SECONDS
        while len(self._files) > _KEPT_FILES:
            self._files.popitem(last=False)
        return name

    def find(self, name: str) -> Encoded | None:
        """The picture of this name, unless it is gone by now."""
        picture, expires = self._files.get(name, (None, 0.0))
        return picture if expires > time.monotonic() else None

    def clear(self) -> None:
        self._files.clear()
