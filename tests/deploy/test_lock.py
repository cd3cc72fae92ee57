"""The lock: it is what pyproject.toml asks for, each package with its hashes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from deploy import lock

PINNED = re.compile(r"([a-z0-9-]+)==(\S+)(?: ; (.+?))? \\")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?")


def locked(name: str) -> dict[str, str]:
    """Package to version; every line is a comment, a pinned package, or a hash of the last one."""
    versions: dict[str, str] = {}
    hashes: dict[str, int] = {}
    package = ""
    for line in Path(f"deploy/{name}.lock").read_text().splitlines():
        if found := PINNED.fullmatch(line):
            package = found[1]
            versions[package] = found[2]
            hashes[package] = 0
        elif HASH.fullmatch(line):
            hashes[package] += 1
        else:
            assert line.startswith("#"), line
    assert all(hashes.values()), hashes
    return versions


def asked_for() -> list[Requirement]:
    project = lock.PYPROJECT["project"]
    texts = list(project["dependencies"])
    for extra in lock.extras():
        texts += project["optional-dependencies"][extra]
    return [Requirement(text) for text in texts]


def test_every_dependency_of_every_shipped_extra_is_in_it_at_a_version_in_range() -> None:
    versions = locked("requirements")
    for each in asked_for():
        name = each.name.lower().replace("_", "-")
        assert name in versions, f"{each} is not locked: make lock"
        assert each.specifier.contains(versions[name]), f"{each} is at {versions[name]}: make lock"


def test_what_builds_the_wheel_is_locked_too() -> None:
    versions = locked("build")
    for each in map(Requirement, lock.build()):
        assert each.specifier.contains(versions[each.name]), "make lock"


def test_what_only_the_tests_need_is_not_in_it() -> None:
    assert not {"pytest", "mypy", "moto", "hypothesis", "openai"} & locked("requirements").keys()
    assert {"objectstore", "postgres"} <= set(lock.extras())


@pytest.mark.parametrize("name", ["requirements", "build"])
def test_it_names_no_index_and_no_place_on_a_disk(name: str) -> None:
    text = Path(f"deploy/{name}.lock").read_text()
    assert not re.search(r"://|^-|--index|--find-links|file:|\s/\w", text, re.MULTILINE)
