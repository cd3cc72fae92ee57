"""What a run found, as JSON, as Markdown, and as the section of docs/speed.md."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.benchmarks.goals import GOALS
from tests.benchmarks.measuring import FLOOR, GATEWAY, Measured

BEGIN, END = "<!-- bench: written by `make bench` -->", "<!-- bench: end -->"


@dataclass(frozen=True)
class Report:
    """A run: where, what was skipped, and every figure."""

    machine: str
    date: str
    rounds: int
    seconds: int
    skipped: Mapping[str, str]
    start_seconds: Mapping[str, float]
    idle_mb: Mapping[str, float]
    measured: Sequence[Measured]

    def json(self) -> str:
        """Every figure of every round."""
        scenes = [
            {
                "scene": each.scene.name,
                "connections": each.scene.connections,
                "failed": each.failed,
                "rounds": {
                    peer: [asdict(figures) for figures in rounds]
                    for peer, rounds in each.rounds.items()
                },
            }
            for each in self.measured
        ]
        goals = [
            {"goal": goal.text, "bound": goal.bound, "measured": goal.ratio(self.measured)}
            for goal in GOALS
        ]
        facts = {
            "machine": self.machine,
            "date": self.date,
            "rounds": self.rounds,
            "seconds": self.seconds,
            "skipped": dict(self.skipped),
            "start_seconds": dict(self.start_seconds),
            "idle_mb": dict(self.idle_mb),
        }
        return json.dumps({**facts, "goals": goals, "scenes": scenes}, indent=1) + "\n"

    def markdown(self) -> str:
        """Tables of medians, and the goals."""
        parts = [
            f"Measured {self.date} on {self.machine}; medians of {self.rounds} interleaved rounds "
            f"of {self.seconds} s. Absolute numbers are this machine's: compare within a table.",
            *(self._table(each) for each in self.measured),
            self._starts(),
            self._goals(),
        ]
        if self.skipped:
            missing = "; ".join(f"{name}: {why}" for name, why in self.skipped.items())
            parts.append(f"Skipped: {missing}.")
        return "\n\n".join(parts) + "\n"

    def _table(self, measured: Measured) -> str:
        scene = measured.scene
        by = "our own clients, pieces of random sizes" if scene.real_clients else "wrk"
        connections = f"{scene.connections} connection{'s' * (scene.connections > 1)}"
        lines = [
            f"**{scene.name[0].upper()}{scene.name[1:]}** ({connections}, {by})",
            "",
            "| | requests/s | p50 ms | p99 ms | CPU ms/request | peak MB |",
            "|---|--:|--:|--:|--:|--:|",
        ]
        for peer in scene.peers:
            figures = measured.median(peer)
            if figures is None:
                lines.append(f"| {peer} | {measured.failed.get(peer, 'skipped')} | | | | |")
                continue
            name = f"**{peer}**" if peer == GATEWAY else peer
            lines.append(
                f"| {name} | {figures.per_second:,.0f} | {figures.p50_ms:.1f} | "
                f"{figures.p99_ms:.1f} | {figures.cpu_ms:.2f} | {figures.peak_mb:.0f} |"
            )
        return "\n".join(lines)

    def _starts(self) -> str:
        lines = ["**At rest**", "", "| | seconds to the first answer | idle MB |", "|---|--:|--:|"]
        lines += [
            f"| {peer} | {seconds:.2f} | {self.idle_mb[peer]:.0f} |"
            for peer, seconds in self.start_seconds.items()
        ]
        return "\n".join(lines)

    def _goals(self) -> str:
        lines = ["**Goals** (ratios within a round)", "", "| | goal | measured |", "|---|--:|--:|"]
        for goal in GOALS:
            ratio = goal.ratio(self.measured)
            bound = f"{'≥' if goal.at_least else '≤'} {goal.bound:g}"
            said = "–" if ratio is None else f"{ratio:.2f} {'✔' if goal.met(ratio) else '✘'}"
            lines.append(f"| {goal.text} | {bound} | {said} |")
        return "\n".join(lines)

    def summary(self, results: str) -> str:
        """The section of docs/speed.md: the goals, the table of hits at 1 MB, the plot."""
        hits = next(each for each in self.measured if FLOOR in each.scene.peers)
        hits = next((each for each in self.measured if each.scene.name == "hits, 1 MB"), hits)
        return "\n\n".join(
            [
                f"`make bench` compares the gateway with its peers on the same work in one run, "
                f"here on {self.machine} ({self.date}; medians of {self.rounds} interleaved "
                f"rounds; what matters are the ratios).",
                f"![Hits by size, and what a miss adds]({results}/plot.svg)",
                self._table(hits),
                self._goals(),
                f"Every size, misses and memory: [{results}/table.md]({results}/table.md); how it "
                "is measured, and where the time goes: "
                "[tests/benchmarks](../tests/benchmarks/README.md).",
            ]
        )


def put_between_markers(path: Path, text: str) -> None:
    """Replace what stands between the two markers of a file. Raises ValueError without them."""
    old = path.read_text()
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} has no markers for the benchmark's section")
    path.write_text(f"{before}{BEGIN}\n\n{text.strip()}\n\n{END}{after}")
