"""Environments of other client libraries: made once, kept in `.venv-clients/`, skipped by name.

In a test an environment is skipped, never failed, where its tool is absent or no registry can be
reached. `python -m tests.clients.environments` makes all that `make test` uses, or fails.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

KEPT = Path(__file__).resolve().parents[2] / ".venv-clients"
NODE_FILES = Path(__file__).resolve().parent / "node"
INSTALL_SECONDS = 240
_READY = "ready"


LITELLM = "litellm==1.110.2"
PYDANTIC_AI = "pydantic-ai-slim[openai]==2.68.0"
OLD_OPENAI = "openai==1.109.1"


def python_with(requirement: str) -> Path:
    """The interpreter of an environment that holds this release of a library, and no other."""
    return _python(re.sub(r"(\[\w+\])?==", "-", requirement), sys.executable, requirement)


def python_with_focus_validator() -> Path:
    """The interpreter of an environment that holds focus-validator 2, which needs Python 3.12."""
    name = "focus-validator-2"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [*pyenv.glob("versions/3.12*/bin/python3"), shutil.which("python3.12")]
    interpreter = sys.executable if sys.version_info[:2] == (3, 12) else found[0]
    if interpreter is None:
        interpreter = "3.12"  # uv downloads one
    # Its bounds allow a pyarrow that refuses the numpy that they ask for.
    return _python(name, str(interpreter), "focus-validator>=2.2,<3", "pyarrow<22")


def _python(name: str, interpreter: str, *wanted: str) -> Path:
    with _kept(name, name) as folder:
        python = folder / "bin" / "python"
        if not _is_ready(folder, " ".join(wanted)):
            shutil.rmtree(folder, ignore_errors=True)
            uv = [sys.executable, "-m", "uv", "--quiet"]
            try:
                _install([*uv, "venv", "--python", interpreter, str(folder)], name)
                _install([*uv, "pip", "install", "--python", str(python), *wanted], name)
            except pytest.skip.Exception:
                if not shutil.which(interpreter):
                    raise
                # uv reads no settings of pip, such as its registry.
                _install([interpreter, "-m", "venv", "--clear", str(folder)], name)
                _install([str(python), "-m", "pip", "install", "--quiet", *wanted], name)
            (folder / _READY).write_text(" ".join(wanted))
    return python


def node_with_libraries() -> tuple[Path, Path]:
    """Node, and a folder with the newest openai-node and Vercel AI SDK that it runs."""
    name = "openai-node and the AI SDK"
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        pytest.skip(f"{name}: there is no {'npm' if node else 'node'} on this machine")
    major = _node_major(node)
    if major < 20:
        pytest.skip(f"{name}: Node {major} runs no release of it that is tested here")
    wanted = (NODE_FILES / "package.json").read_text()
    with _kept(f"node-{major}", name) as folder:
        if not _is_ready(folder, wanted):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            shutil.copy(NODE_FILES / "package.json", folder)
            quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock"]
            bounds = ["--fetch-retries=1", "--fetch-timeout=20000"]
            _install([npm, "install", *quiet, *bounds], name, folder)
            (folder / _READY).write_text(wanted)
        for script in NODE_FILES.glob("*.mjs"):
            shutil.copy(script, folder)
    return Path(node), folder


def axe_core() -> Path:
    """The script of axe-core, which finds faults that keep people from using a page."""
    return node_with_libraries()[1] / "node_modules" / "axe-core" / "axe.min.js"


def _node_major(node: str) -> int:
    said = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=30)
    found = re.match(r"v(\d+)\.", said.stdout)
    return int(found[1]) if found else 0


def _is_ready(folder: Path, wanted: str) -> bool:
    mark = folder / _READY
    return mark.is_file() and mark.read_text() == wanted


@contextmanager
def _kept(folder: str, name: str) -> Iterator[Path]:
    """The folder of an environment, to oneself: other test processes may want it as well."""
    try:
        KEPT.mkdir(exist_ok=True)
        lock = (KEPT / f"{folder}.lock").open("w")
    except OSError as error:
        pytest.skip(f"{name}: {KEPT.name} can't be written to: {error.strerror}")
    with lock:
        deadline = time.monotonic() + INSTALL_SECONDS
        while not _locked(lock.fileno()):
            if time.monotonic() > deadline:
                pytest.skip(f"{name}: another process has been installing it for too long")
            time.sleep(0.2)
        yield KEPT / folder


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _install(command: Sequence[str], name: str, folder: Path | None = None) -> None:
    """Run one step of an installation; skips where a registry can't be reached."""
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"{name} can't be installed: {Path(command[0]).name} took too long")
    if done.returncode == 0:
        return
    said = done.stdout + done.stderr
    known = re.search(r"there is no version of|ETARGET", said)
    if known:  # the registry answered: it is our wish that is wrong
        raise RuntimeError(f"{name}: {said[-2000:]}")
    why = next((line for line in said.splitlines() if "error" in line.lower()), said.strip())
    pytest.skip(f"{name} can't be installed, no registry in reach: {why[:200]}")


def make_all() -> None:
    """Make every environment that `make test` uses. Exits with what is missing, if it can't be."""
    if not shutil.which("javac"):
        sys.exit("java_client.java needs a JDK: there is no javac")
    try:
        for requirement in (OLD_OPENAI, LITELLM, PYDANTIC_AI):
            python_with(requirement)
        node_with_libraries()
    except pytest.skip.Exception as missing:
        sys.exit(str(missing))
    try:
        python_with_focus_validator()
    except pytest.skip.Exception as missing:
        print(missing, file=sys.stderr)  # noqa: T201 - Debian has no Python 3.12


if __name__ == "__main__":
    make_all()
