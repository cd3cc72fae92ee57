"""Commands start fast: none imports what it doesn't use."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

LISTINGS = (
    "teams list", "keys list", "tokens list", "audit", "ledger list", "ledger close --list",
    "usage --by team", "organisation show", "prices show gpt-image-1",
)  # fmt: skip
HEAVY = {
    "aiohttp", "PIL", "starlette", "uvicorn", "httpx", "prometheus_client", "blake3", "stringzilla",
    "diskcache", "obstore", "asyncpg", "opentelemetry", "rich", "gateway.emulator", "gateway.api",
    "gateway.server", "gateway.edits", "gateway.coalescing", "gateway.cache",
}  # fmt: skip
PROGRAM = """
import json, sys
from gateway.cli import main
for line in sys.argv[1:]:
    main(line.split(), standalone_mode=False)
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def imported(*lines: str, folder: Path) -> set[str]:
    """The modules that a process has imported once it has run these commands."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *lines], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


def packages(modules: set[str]) -> set[str]:
    return {".".join(name.split(".")[:2]) for name in modules} | {
        name.partition(".")[0] for name in modules
    }


@pytest.mark.parametrize(("line", "most"), [("--version", 200), ("--help", 210)])
def test_what_needs_no_settings_imports_none(line: str, most: int, tmp_path: Path) -> None:
    modules = imported(line, folder=tmp_path)

    assert len(modules) <= most
    assert not packages(modules) & {*HEAVY, "pydantic", "gateway.settings", "asyncio"}


def test_a_listing_imports_neither_server_nor_emulator(tmp_path: Path) -> None:
    modules = imported("init", *LISTINGS, folder=tmp_path)

    assert not packages(modules) & HEAVY


def test_a_listing_of_teams_imports_few_modules(tmp_path: Path) -> None:
    modules = imported("init", "teams list", folder=tmp_path)

    assert len(modules) <= 415
