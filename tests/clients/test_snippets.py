"""docs/snippets.md: each program is run as it stands, with the libraries that it asks for."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.emulator import EmulatorServer
from tests.clients.environments import LITELLM, PYDANTIC_AI, node_with_libraries, python_with
from tests.support.serving import PHOTOGRAPH, Served, make_key, serving, settings_for

PAGE = Path("docs/snippets.md").read_text(encoding="utf-8")
PROGRAMS = dict(re.findall(r"^```\w+\n(?:#|//) (\S+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE))
WRITTEN_FOR = "http://127.0.0.1:8080"
DEAR = {
    "edit_async.py", "edit_litellm.py", "edit_pydantic_ai.py", "edit_ai_sdk.mjs", "Edit.java",
    "refusal.py",
}  # fmt: skip
"""Those whose libraries or compiler take seconds to start, or that are much like another."""
WITHOUT_HEADERS = {"edit_litellm.py", "edit_pydantic_ai.py"}
EDITS = [name for name in PROGRAMS if name.lower().startswith("edit")]


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, emulator_server: EmulatorServer
) -> Iterator[Served]:
    settings = settings_for(tmp_path_factory.mktemp("snippets"), emulator_server)
    make_key(settings, secret="sk-demo")
    with serving(settings) as running:
        yield running


def run(name: str, gateway: Served, folder: Path) -> str:
    """What the program prints."""
    text = PROGRAMS[name].replace(WRITTEN_FOR, gateway.url)
    assert "8080" not in text
    (folder / "photo.jpg").write_bytes(PHOTOGRAPH)
    (folder / name).write_text(text)
    done = subprocess.run(
        [*_interpreter(name, folder), name], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _interpreter(name: str, folder: Path) -> list[str]:
    if name.endswith(".sh"):
        return ["bash", "-e"]
    if name.endswith(".java"):
        if not shutil.which("java"):
            pytest.skip("there is no java here")
        return ["java"]
    if name.endswith(".mjs"):
        node, libraries = node_with_libraries()
        (folder / "node_modules").symlink_to(libraries / "node_modules")
        return [str(node)]
    library = {"edit_litellm.py": LITELLM, "edit_pydantic_ai.py": PYDANTIC_AI}.get(name)
    return [str(python_with(library)) if library else sys.executable]


def cases(names: Iterable[str]) -> list[Any]:
    return [pytest.param(each, marks=[pytest.mark.long] if each in DEAR else []) for each in names]


def test_there_are_ten_clients_and_each_has_a_name() -> None:
    assert len(EDITS) == 10
    assert len(PROGRAMS) == PAGE.count("```") / 2
    assert PROGRAMS.keys() >= DEAR | WITHOUT_HEADERS


@pytest.mark.parametrize("name", cases(EDITS))
def test_the_edit_of_a_client_is_a_picture_and_the_same_edit_as_that_of_another(
    name: str, gateway: Served, emulator: EmulatorServer, tmp_path: Path
) -> None:
    for prompt in ("make it grey", "flip it horizontally"):
        gateway.edit(prompt=prompt, key="sk-demo")
    calls = emulator.stats()["calls"]
    printed = run(name, gateway, tmp_path)

    assert emulator.stats()["calls"] == calls
    picture = (tmp_path / "edited.png").read_bytes()
    assert picture.startswith((b"\x89PNG", b"\xff\xd8", b"RIFF"))
    if name not in WITHOUT_HEADERS:
        assert "HIT" in printed
        assert re.search(r"[ :]0$", printed, re.MULTILINE), printed


@pytest.mark.parametrize("name", cases(sorted(PROGRAMS.keys() - set(EDITS))))
def test_a_refusal_is_printed_as_the_page_says(name: str, gateway: Served, tmp_path: Path) -> None:
    assert re.match(r"400 invalid_image req_\w+ `image` is not", run(name, gateway, tmp_path))
