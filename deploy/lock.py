"""What `make lock` locks: the extras that the image contains, and the build requirements."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

PYPROJECT: dict[str, Any] = tomllib.loads(
    (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
)
NOT_SHIPPED = frozenset({"release", "test", "prices"})
"""`gateway prices update` runs where tables are kept."""


def extras() -> list[str]:
    """The names of the extras that the image contains."""
    return sorted(set(PYPROJECT["project"]["optional-dependencies"]) - NOT_SHIPPED)


def build() -> list[str]:
    """The requirements of the build itself."""
    return list(PYPROJECT["build-system"]["requires"])


if __name__ == "__main__":
    if sys.argv[1:] == ["extras"]:
        sys.stdout.write(" ".join(f"--extra {name}" for name in extras()))
    elif sys.argv[1:] == ["build"]:
        sys.stdout.write("\n".join(build()) + "\n")
    else:
        raise SystemExit("lock.py extras|build")
