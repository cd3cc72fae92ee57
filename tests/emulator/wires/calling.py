"""A client of the emulator in the form of each provider, written without the gateway's code."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from gateway.emulator import EmulatorServer, EmulatorSettings
from tests.emulator.calling import edit_files, picture_file


@contextmanager
def playing(api: str) -> Iterator[tuple[EmulatorServer, httpx.Client]]:
    """An emulator with this interface, and a client without a key."""
    with (
        EmulatorServer(EmulatorSettings(api=api)) as server,
        httpx.Client(base_url=server.base_url, timeout=10, trust_env=False) as http,
    ):
        yield server, http


def bearer(server: EmulatorServer) -> dict[str, str]:
    return {"authorization": f"Bearer {server.api_key}"}


def data_url(content: bytes | None = None) -> str:
    text = base64.b64encode(content or picture_file()).decode()
    return f"data:image/png;base64,{text}"


def form(prompt: str = "make it grey", **fields: str) -> dict[str, Any]:
    """The arguments of an edit as multipart."""
    return {"data": {"prompt": prompt, **fields}, "files": edit_files()}


def generate_content(prompt: str = "make it grey", **config: object) -> dict[str, object]:
    """A request of `generateContent` with one picture."""
    inline = {"mimeType": "image/png", "data": base64.b64encode(picture_file()).decode()}
    return {
        "contents": [{"role": "user", "parts": [{"text": prompt}, {"inlineData": inline}]}],
        "generationConfig": {"responseModalities": ["IMAGE"], **config},
    }
