"""The snippets, run as they are copied: each writes the edited picture."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.queries.rules.snippets import snippets
from tests.clients.environments import node_with_libraries
from tests.support.serving import KEY, PHOTOGRAPH, Running

PNG = b"\x89PNG"


def text_of(client: str, base_url: str) -> str:
    return next(
        each.text for each in snippets(base_url, KEY, "deepshi-image-1") if each.id == client
    )


def run(command: Sequence[str | Path], folder: Path) -> bytes:
    """Run it beside photo.jpg; gives what it has written to edited.png."""
    (folder / "photo.jpg").write_bytes(PHOTOGRAPH)
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return (folder / "edited.png").read_bytes()


def test_curl(gateway: Running, tmp_path: Path) -> None:
    if not shutil.which("jq"):
        pytest.skip("jq is not installed")
    written = run(["bash", "-c", text_of("curl", gateway.base_url)], tmp_path)

    assert written.startswith(PNG)


def test_python(gateway: Running, tmp_path: Path) -> None:
    written = run([sys.executable, "-c", text_of("python", gateway.base_url)], tmp_path)

    assert written.startswith(PNG)


@pytest.mark.parametrize("client", ["node", "ai-sdk"])
def test_node(gateway: Running, tmp_path: Path, client: str) -> None:
    node, libraries = node_with_libraries()
    (tmp_path / "node_modules").symlink_to(libraries / "node_modules")
    (tmp_path / "edit.mjs").write_text(text_of(client, gateway.base_url))
    written = run([node, "edit.mjs"], tmp_path)

    assert written.startswith(PNG)


def test_what_a_shell_or_a_string_would_read_is_quoted() -> None:
    found = snippets("http://gateway/v1", "a'b\"c$(d)", "model")

    assert "'Authorization: Bearer a'\"'\"'b\"c$(d)'" in found[0].text
    assert r'api_key="a' + "'" + r'b\"c$(d)"' in found[1].text
