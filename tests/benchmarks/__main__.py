"""`make bench`: the gateway and its peers on the same work, in one run on one machine."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click

from tests.benchmarks import stages
from tests.benchmarks.measuring import DIRECT, GATEWAY, SCENES, Measured, measure_round
from tests.benchmarks.peers import PEERS, Missing, Peer, start_constant
from tests.benchmarks.plot import plot
from tests.benchmarks.processes import Process
from tests.benchmarks.report import Report, put_between_markers
from tests.benchmarks.work import EIGHT_MB, ONE_MB, WORKS

RESULTS = Path("tests/benchmarks/results")
SUMMARY = Path("docs/speed.md")
PROFILE = Path("tests/benchmarks/README.md")
SETTLE_SECONDS = 1.0


@click.command()
@click.option("--rounds", default=3, help="So many rounds, interleaved; medians are shown.")
@click.option("--seconds", default=4, help="How long each peer is loaded, each time.")
@click.option("--scene", "scenes", multiple=True, help="Only what has this in its name.")
@click.option("--peer", "peers", multiple=True, help="Only these peers.")
@click.option("--write/--no-write", default=None, help="Write the results and docs/speed.md.")
def main(
    rounds: int, seconds: int, scenes: tuple[str, ...], peers: tuple[str, ...], write: bool | None
) -> None:
    """Measure, show, and (where nothing was left out) write tests/benchmarks/results/."""
    if shutil.which("wrk") is None:
        raise click.ClickException("wrk makes the load; on Debian: apt-get install wrk")
    chosen = [s for s in SCENES if not scenes or any(part in s.name for part in scenes)]
    taking_part = [p for p in PEERS if not peers or p.name in peers]
    measured = [Measured(scene) for scene in chosen]
    with (
        tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder,
        _running(taking_part, Path(folder)) as (running, skipped, idle),
    ):
        for number in range(1, rounds + 1):
            for each in measured:
                began = time.perf_counter()
                measure_round(each, running, Path(folder), seconds)
                took = time.perf_counter() - began
                click.echo(f"round {number}/{rounds}  {each.scene.name}  ({took:.0f} s)")
        today = datetime.now(UTC).date().isoformat()
        spent = _stages(running[GATEWAY], today) if GATEWAY in running else ""
        report = Report(
            machine=_machine(),
            date=today,
            rounds=rounds,
            seconds=seconds,
            skipped=skipped,
            start_seconds={name: each.start_seconds for name, each in running.items()},
            idle_mb=idle,
            measured=measured,
        )
    click.echo(f"\n{report.markdown()}\n{spent}\n")
    if write or (write is None and not scenes and not peers):
        _write(report, spent)


@contextlib.contextmanager
def _running(
    peers: list[Peer], folder: Path
) -> Iterator[tuple[dict[str, Process], dict[str, str], dict[str, float]]]:
    """Every peer that can take part, what can't and why, and the memory of each at rest."""
    running: dict[str, Process] = {}
    skipped: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        own = folder / "upstream"
        own.mkdir()
        upstream = running[DIRECT] = start_constant(own)
        stack.callback(upstream.stop)
        for peer in peers:
            try:
                running[peer.name] = peer.started(f"{upstream.url}/v1", folder)
            except Missing as error:
                skipped[peer.name] = str(error)
                click.echo(f"{peer.name}: skipped, {error}")
                continue
            stack.callback(running[peer.name].stop)
            click.echo(f"{peer.name}: up after {running[peer.name].start_seconds:.2f} s")
        time.sleep(SETTLE_SECONDS)
        yield running, skipped, {name: p.memory_bytes() / 1e6 for name, p in running.items()}


def _stages(gateway: Process, today: str) -> str:
    """Where the time goes, at one request at a time."""
    click.echo("stages of a hit and of a miss")
    asked = [(WORKS[0], False), (ONE_MB, False), (EIGHT_MB, False), (ONE_MB, True)]
    measured = [stages.measure(gateway.url, work, unique=unique) for work, unique in asked]
    return stages.markdown(measured, stages.limits(), f"{today}, {_machine()}")


def _write(report: Report, spent: str) -> None:
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "table.md").write_text(report.markdown())
    (RESULTS / "results.json").write_text(report.json())
    (RESULTS / "plot.svg").write_text(plot(report.measured))
    put_between_markers(SUMMARY, report.summary(f"../{RESULTS}"))
    put_between_markers(PROFILE, spent)
    click.echo(f"written: {RESULTS}/ and {SUMMARY}")


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.split(":")[1].strip() for line in lines if "model name" in line), "")
    return f"{os.cpu_count()} cores of {name or platform.machine()}"


if __name__ == "__main__":
    main()
