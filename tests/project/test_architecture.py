"""What ARCHITECTURE.md says is so: tests that it names, floors, dependencies."""

from __future__ import annotations

import re
import tomllib
from itertools import chain
from pathlib import Path

PAGE = Path("ARCHITECTURE.md").read_text()
PYPROJECT = tomllib.loads(Path("pyproject.toml").read_text())


def test_every_test_that_the_page_names_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)`", PAGE)

    assert len(named) > 20
    assert [path for path in named if not Path(path).is_file()] == []


def test_every_threat_has_something_that_stops_it_and_a_test_that_shows_so() -> None:
    section = PAGE.partition("## Threats, and what stops them")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("|")][2:]

    assert len(rows) > 10
    for _, wish, stopped_by, shown_by in rows:
        assert wish.strip()
        assert stopped_by.strip()
        assert "`tests/" in shown_by


def test_the_floors_on_the_page_are_the_layers_that_are_checked() -> None:
    layers = PYPROJECT["tool"]["importlinter"]["contracts"][0]["layers"]
    checked = [set(re.findall(r"\w+", layer)) for layer in layers]
    section = PAGE.partition("## The floors")[2].partition("```")[2].partition("```")[0]
    lines = [re.split(r"\s{2,}", line) for line in section.strip().splitlines() if line[:1] != " "]

    assert [set(re.findall(r"\w+", names)) for names, *_ in lines] == checked


def test_every_dependency_has_its_line() -> None:
    project = PYPROJECT["project"]
    declared = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    names = {re.split(r"[\[=><]", each)[0] for each in declared} - {project["name"]}
    section = PAGE.partition("## Dependencies")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("|")][2:]
    listed = set(re.findall(r"[\w-]+", re.sub(r"\(.*?\)", "", ", ".join(rows))))

    assert names == listed
