"""The compose file's services together: PostgreSQL, Prometheus and nginx with their very files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.composed import CREATED
from tests.deploy.fronts import program

NAMESPACES = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]


@pytest.mark.long
def test_an_edit_is_bought_once_booked_and_counted_by_prometheus(tmp_path: Path) -> None:
    missing = [name for name in ("prometheus", "nginx", "ip") if not shutil.which(program(name))]
    if missing:
        pytest.skip(f"apt-get install prometheus nginx-light iproute2 (no {', '.join(missing)})")
    if os.geteuid() != 0 or subprocess.run([*NAMESPACES, "true"], capture_output=True).returncode:
        pytest.skip("namespaces can't be made here")
    try:
        done = subprocess.run(
            [*NAMESPACES, sys.executable, "-m", "tests.deploy.composed", tmp_path],
            capture_output=True, text=True, timeout=400,
        )  # fmt: skip
    finally:
        _remove(tmp_path / CREATED)
    logs = "".join(f"{log.name}\n{log.read_text()[-1500:]}\n" for log in tmp_path.glob("*.log"))
    assert done.returncode == 0, f"{done.stderr[-3000:]}\n{logs}"
    seen = json.loads(done.stdout.splitlines()[-1])

    assert seen.pop("rules") > 20
    assert seen.pop("requests by Prometheus") >= 2
    assert seen == {
        "database healthy": True,
        "outcomes": ["MISS", "HIT"],
        "upstream calls": 1,
        "spent": "0.01",
        "faulty rules": [],
        "metrics through nginx": 404,
    }


def _remove(created: Path) -> None:
    """The empty folders and files at which something was mounted."""
    for path in map(Path, reversed(created.read_text().splitlines() if created.exists() else [])):
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()
