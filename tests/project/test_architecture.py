"""What ARCHITECTURE.md says is so: packages, dependencies, and a test for every threat."""

from __future__ import annotations

import re
import tomllib
from itertools import chain
from pathlib import Path

PAGE = Path("ARCHITECTURE.md").read_text(encoding="utf-8")
PYPROJECT = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
CONTRACT = PYPROJECT["tool"]["importlinter"]["contracts"][0]


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows(title: str) -> list[list[str]]:
    """The cells of each row of the table in this section, without its head."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]


def test_every_threat_has_a_defence_and_a_test_of_it() -> None:
    threats = rows("Security")

    assert len(threats) > 10
    for _, goal, defence, tests in threats:
        assert goal
        assert defence
        assert "`tests/" in tests


def test_every_package_has_its_line_in_the_order_of_the_import_contract() -> None:
    named = [cells[0].strip("`") for cells in rows("Packages")]
    layers = [layer for layer in CONTRACT["layers"] if layer != "__main__"]

    assert named == [*layers, *CONTRACT["exhaustive_ignores"]]


def test_every_dependency_has_its_line() -> None:
    project = PYPROJECT["project"]
    declared = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    names = {re.split(r"[\[=><]", each)[0] for each in declared} - {project["name"]}
    packages = ", ".join(cells[0] for cells in rows("Dependencies"))
    listed = set(re.findall(r"[\w-]+", re.sub(r"\(.*?\)", "", packages)))

    assert names == listed


def test_every_library_is_imported_by_the_packages_that_are_named_its_home() -> None:
    for packages, homes, _ in rows("Dependencies"):
        if "(tests)" in packages:
            continue
        for home in re.findall(r"`(\w+)`", homes):
            files = [Path(f"gateway/{home}.py"), *Path("gateway", home).rglob("*.py")]
            source = "".join(file.read_text(encoding="utf-8") for file in files if file.is_file())
            libraries = re.findall(r"[\w-]+", re.sub(r"\(.*?\)", "", packages))
            assert any(_is_imported(name, source) for name in libraries), (home, libraries)


def _is_imported(library: str, source: str) -> bool:
    module = {"python-multipart": "python_multipart", "Pillow": "PIL", "tzdata": "zoneinfo"}
    name = module.get(library, library.replace("-", "_").removesuffix("_sdk"))
    return re.search(rf"^\s*(?:from|import) {name}\b", source, re.MULTILINE) is not None


def test_the_glossary_has_at_most_25_words() -> None:
    assert 0 < len(re.findall(r"\*\*", section("Glossary"))) / 2 <= 25
