"""Blocks of megabytes are used again, and are not asked of the system each time."""

from __future__ import annotations

import platform
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.emulator import EmulatorServer
from tests.support.serving import GatewayProcess, tables_of

PROGRAM = """
import resource
from gateway.server.allocator import keep_large_blocks

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        first, second = bytes(1_400_000), bytes(3_000_000)
        del first, second
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults()
assert keep_large_blocks()
faults()
after = faults()

peak = b"x" * 20_000_000
del peak
start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
block = b"x" * 6_000_000
print(before, after, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - start)
"""


PEAK = """
from pathlib import Path
from gateway.server.allocator import give_back, keep_large_blocks

def held():
    return int(Path("/proc/self/statm").read_text().split()[1])

assert keep_large_blocks()
peak, small = [], []
for _ in range(100):
    peak.append(b"x" * 1_000_000)
    small.append(bytearray(40_000))
at_peak = held()
del peak
freed = held()
give_back()
print(at_peak, freed, held())
"""

ARENA_BYTES = 64 << 20
"""glibc maps each further arena at a multiple of its full size."""

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc alone")


def arenas(pid: int) -> list[str]:
    """The arenas that a process has beside its first: what is in use of each, then its rest."""
    found = []
    maps = Path(f"/proc/{pid}/maps").read_text()
    for start, end in re.findall(r"^(\w+)-(\w+) rw-p 00000000 00:00 0 *$", maps, re.MULTILINE):
        rest = re.search(rf"^{end}-(\w+) ---p 00000000 00:00 0 *$", maps, re.MULTILINE)
        if rest and int(rest[1], 16) - int(start, 16) == ARENA_BYTES:
            found.append(start)
    return found


def test_memory_that_was_freed_is_used_again() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    before, after, after_a_peak = map(int, done.stdout.split())
    assert after < before / 10
    assert after_a_peak < 6_000_000 / resource.getpagesize() / 10


def test_what_a_peak_leaves_between_blocks_in_use_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    at_peak, freed, given_back = map(int, done.stdout.split())
    pages = 100_000_000 / resource.getpagesize()
    assert at_peak - freed < pages / 10  # `free` alone gives nothing back here
    assert at_peak - given_back > pages * 0.8


@pytest.mark.parametrize("workers", [1, 2])
def test_all_threads_of_a_gateway_share_one_arena(
    tmp_path: Path, emulator: EmulatorServer, workers: int
) -> None:
    more = {"server": {"workers": workers}}
    tables = tables_of(tmp_path, emulator, more)
    with GatewayProcess(tables, tmp_path, anew=True) as gateway:
        pid = gateway.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        pids = [pid, *map(int, children)]
        assert len(pids) >= workers
        assert [arenas(pid) for pid in pids] == [[] for _ in pids]
        assert gateway.stop() == 0
