"""The stylesheet, the script and the icon, served as files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from gateway.model.errors import Refusal
from gateway.server.exchange import Exchange

_FOLDER = Path(__file__).with_name("static")
_TYPES: Mapping[str, str] = MappingProxyType(
    {
        ".css": "text/css; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".svg": "image/svg+xml",
    }
)


@cache
def _files() -> Mapping[str, bytes]:
    return {path.name: path.read_bytes() for path in _FOLDER.iterdir() if path.suffix in _TYPES}


def version_of(name: str) -> str:
    """Changes with the file, so that a browser keeps a file for as long as it is the same."""
    return hashlib.sha256(_files()[name]).hexdigest()[:12]


async def serve_file(exchange: Exchange) -> None:
    name = exchange.path_parameters["name"]
    body = _files().get(name)
    if body is None:
        raise Refusal("not_found", f"The console has no file {name!r}.")
    headers = {
        "content-type": _TYPES[Path(name).suffix],
        "cache-control": "public, max-age=31536000, immutable",
        "x-content-type-options": "nosniff",
    }
    await exchange.answer(200, headers, body)
