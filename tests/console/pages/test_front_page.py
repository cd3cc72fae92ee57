"""`/`: the base URL, snippets, and models for those who may see them."""

from __future__ import annotations

from pathlib import Path

from gateway.emulator import EmulatorServer
from tests.console.visiting import Visiting, console_settings, signed_in
from tests.support.serving import KEY, Running, serving


def test_it_says_where_clients_connect(served: Running) -> None:
    with Visiting(served) as visiting:
        text = visiting.get("/").text

    assert f"{served.url}/v1</code>" in text
    for client in ("curl", "Python", "Node", "Vercel AI SDK"):
        assert f">{client}</label>" in text
    assert "model=deepshi-image-1" in text


def test_models_are_for_those_who_have_signed_in(served: Running) -> None:
    with Visiting(served) as visiting, signed_in(served, KEY) as member:
        stranger, known = visiting.get("/").text, member.get("/").text

    assert "deepshi-collage-14" not in stranger
    assert "deepshi-collage-14" in known
    assert "up to 14" in known


def test_with_a_public_index_models_are_for_all(tmp_path: Path, emulator: EmulatorServer) -> None:
    settings = console_settings(tmp_path, emulator, {"console": {"public_index": True}})
    with serving(settings) as running, Visiting(running) as visiting:
        text = visiting.get("/").text

    assert "<code>deepshi-collage-14</code>" in text
    assert "$0.01" in text
