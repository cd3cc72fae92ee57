"""Names and layout: one name for each concept, and folders as the import contract lists them."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import defaultdict
from pathlib import Path

GATEWAY, TESTS = Path("gateway"), Path("tests")
CONTRACTS = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
LAYERS = CONTRACTS[0]
ACROSS = {
    "benchmarks", "clients", "dashboards", "deploy", "end_to_end", "faults_of_many", "project",
    "support",
}  # fmt: skip
"""Tests of more than one package, and what they share."""
REPLACED = frozenset(
    [
        "arrival",
        "asking",
        "aviation",
        "boarding",
        "chores",
        "clearance",
        "courier",
        "crash",
        "cupboard",
        "door",
        "doorkeeper",
        "gate",
        "glance",
        "hearts",
        "landing",
        "lane",
        "leasing",
        "lookout",
        "marks",
        "posting",
        "regain",
        "relay",
        "seat",
        "showing",
        "sighting",
        "standing",
        "survey",
        "tell",
        "told",
        "tower",
        "treasury",
        "trouble",
    ]
)
"""Words that a newcomer does not know, and that have another one of the field's."""


def modules() -> list[Path]:
    return [path for path in GATEWAY.rglob("*.py") if "emulator" not in path.parts]


def classes() -> dict[str, list[str]]:
    """Where the classes of each name are defined."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(str(path))
    return found


def words(name: str) -> set[str]:
    """The words of a name, be it `snake_case` or `CamelCase`."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)}


def packages(folder: Path) -> set[str]:
    """The folders below this one that hold Python, by their paths from it."""
    inits = [path.parent for path in folder.rglob("__init__.py") if path.parent != folder]
    return {str(path.relative_to(folder)) for path in inits}


def test_no_two_classes_have_the_same_name() -> None:
    found = classes()

    assert len(found) > 200
    assert {name: places for name, places in found.items() if len(places) > 1} == {}


def test_no_module_or_class_is_named_in_a_word_that_was_replaced() -> None:
    names = [*classes(), *(path.stem for path in modules()), *(p.parent.name for p in modules())]

    assert {name for name in names if words(name) & REPLACED} == set()


def test_the_import_contract_lists_every_package() -> None:
    files = {path.stem for path in GATEWAY.glob("*.py") if path.stem != "__init__"}
    folders = {name for name in packages(GATEWAY) if "/" not in name}

    assert {*LAYERS["layers"], *LAYERS["exhaustive_ignores"]} == files | folders


def test_every_folder_of_tests_mirrors_a_package() -> None:
    mirrored = {name for name in packages(TESTS) if name.partition("/")[0] not in ACROSS}
    top_level = {name for name in packages(GATEWAY) if "/" not in name}

    assert mirrored - packages(GATEWAY) == set()
    assert top_level - mirrored == set()
