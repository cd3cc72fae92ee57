"""What a run found becomes tables, goals and a plot, whoever was missing."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from gateway.uploads.rules.picture_sniffer import is_picture
from tests.benchmarks.apps import answer
from tests.benchmarks.goals import GOALS
from tests.benchmarks.measuring import DIRECT, FLOOR, GATEWAY, SCENES, Figures, Measured
from tests.benchmarks.plot import plot
from tests.benchmarks.report import BEGIN, END, Report, put_between_markers


def figures(per_second: float, p50_ms: float = 1.0) -> Figures:
    return Figures(per_second, p50_ms, p99_ms=2 * p50_ms, cpu_ms=0.5, peak_mb=50.0)


def measured() -> list[Measured]:
    """Three rounds of everything, in which only the floor, the upstream and the gateway ran."""
    found = []
    for scene in SCENES:
        speeds = {FLOOR: (900, 1000, 1100), GATEWAY: (700, 700, 770), DIRECT: (500, 500, 500)}
        rounds = {
            peer: [figures(speed) for speed in speeds[peer]]
            for peer in scene.peers
            if peer in speeds
        }
        found.append(Measured(scene, rounds))
    return found


def report() -> Report:
    return Report(
        machine="2 cores of something",
        date="2026-01-01",
        rounds=3,
        seconds=4,
        skipped={"nginx + Lua": "not installed"},
        start_seconds={GATEWAY: 0.6},
        idle_mb={GATEWAY: 70.0},
        measured=measured(),
    )


def test_medians_of_rounds_stand_in_the_table() -> None:
    assert "| bare Starlette | 1,000 | 1.0 | 2.0 | 0.50 | 50 |" in report().markdown()


def test_a_goal_is_the_median_of_the_ratios_within_each_round() -> None:
    floor = next(goal for goal in GOALS if goal.text.endswith("the floor's"))
    ratio = floor.ratio(measured())
    assert ratio == pytest.approx(0.7)  # of 0.78, 0.7 and 0.7
    assert ratio is not None
    assert floor.met(ratio)
    assert f"| {floor.text} | ≥ 0.65 | 0.70 ✔ |" in report().markdown()


def test_a_peer_that_is_missing_is_named_and_its_goals_are_left_open() -> None:
    shown = report().markdown()
    assert "Skipped: nginx + Lua: not installed." in shown
    assert "| hits, 1 MB: throughput over nginx + Lua's | ≥ 1.3 | – |" in shown


def test_every_figure_of_every_round_is_in_the_json() -> None:
    scenes = json.loads(report().json())["scenes"]
    rounds = scenes[0]["rounds"][FLOOR]
    assert [each["per_second"] for each in rounds] == [900, 1000, 1100]


def test_the_plot_is_an_svg_with_a_bar_for_every_peer_that_ran() -> None:
    root = ElementTree.fromstring(plot(measured()))  # noqa: S314 - our own
    texts = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count(GATEWAY) == len(SCENES)
    assert "1,000" in texts


def test_only_what_stands_between_the_markers_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    put_between_markers(page, report().summary("results"))
    assert page.read_text().startswith(f"before\n{BEGIN}\n\n`make bench`")
    assert page.read_text().endswith(f"{END}\nafter\n")
    assert "old" not in page.read_text()
    page.write_text("no markers")
    with pytest.raises(ValueError, match="no markers"):
        put_between_markers(page, "new")


def test_what_every_peer_answers_is_a_picture_or_no_hit_would_be_one() -> None:
    picture = base64.b64decode(json.loads(answer())["data"][0]["b64_json"])
    assert is_picture(picture[:64])
