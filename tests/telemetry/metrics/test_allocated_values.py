"""The files of workers' metrics, while their disk is full."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")

WRITER = """
import sys
from pathlib import Path
from gateway.telemetry.metrics.allocated_values import AllocatedValues

values = AllocatedValues(sys.argv[1])
values.write_value("early", 1.0, 0.0)
filler = Path(sys.argv[1]).with_name("filler")
with filler.open("wb", buffering=0) as file:
    try:
        while file.write(bytes(4096)):
            pass
    except OSError:
        pass
for number in range(3000):
    values.write_value(f"late {number}", 2.0, 0.0)
values.write_value("early", 3.0, 0.0)
print(values.read_value("early"), values.read_value("late 0"), values.read_value("late 2999"))
filler.unlink()
values.write_value("late 2999", 4.0, 0.0)
print(dict((key, value) for key, value, *_ in values.read_all_values())["late 2999"])
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted here")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_ends_no_process_and_values_without_room_are_written_later(
    small_disk: Path,
) -> None:
    written = subprocess.run(
        [sys.executable, "-c", WRITER, str(small_disk / "counter_0.db")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (written.returncode, written.stderr) == (0, "")
    full, after = written.stdout.splitlines()
    assert full == "(3.0, 0.0) (2.0, 0.0) (0.0, 0.0)"
    assert after == "4.0"
