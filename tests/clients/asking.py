"""Edits by the newest openai-python, its tries counted, and gateways with settings of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gateway.emulator import EmulatorServer
from tests.clients import python_client
from tests.clients.pictures import is_grey_photograph
from tests.support.serving import KEY, Overrides, Running, Served, make_key, serving, settings_for

PHOTO = [{"file": "photo.jpg", "as": "bytes"}]


@contextmanager
def patient(
    folder: Path, emulator: EmulatorServer, tables: Overrides, **terms: object
) -> Iterator[Running]:
    """A gateway with these settings, and a key with these limits."""
    settings = settings_for(folder, emulator, tables)
    make_key(settings, key_terms=terms)
    with serving(settings) as running:
        yield running


def edit(gateway: Served, pictures: Path, prompt: str, **asked: Any) -> dict[str, Any]:
    """An edit as the library makes it, its tries counted."""
    fields = {"model": "deepshi-image-1", "prompt": prompt}
    usual = {"base_url": gateway.base_url, "api_key": KEY, "folder": str(pictures)}
    command = usual | {"do": "edit", "images": PHOTO, "fields": fields} | asked
    return python_client.carried_out(command)


def check_picture(seen: dict[str, Any]) -> None:
    assert "answer" in seen, seen
    assert is_grey_photograph(seen["answer"]["data"][0]["b64_json"])
