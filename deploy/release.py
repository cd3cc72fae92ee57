"""`make release`: wheel, sdist, SBOM and image of the version in pyproject.toml, into dist/.

What a machine can't do, such as an image without buildah, is named at the end and is no error.
What it can do and what fails ends the release.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
VERSION: str = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
KNOWN_HOLE = "requests==2.19.0"
LOCKS = ("requirements.lock", "build.lock")
_OUT_OF_REACH = re.compile(
    r"ConnectionError|NameResolution|Max retries|dial tcp|no such host|pinging container registry|"
    r"Could not connect|error sending request|ServiceError|dns error|Network is unreachable"
)


class NotHere(Exception):
    """This machine can't do it; the message says why."""


def run(command: Sequence[str | Path], *, reaches: str = "") -> None:
    """Run a step in the repository. Exits where it fails.

    Raises NotHere where it fails because what it has to reach can't be reached.
    """
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    said = done.stdout + done.stderr
    if done.returncode and reaches and _OUT_OF_REACH.search(said):
        raise NotHere(f"{reaches} can't be reached")
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{said}")


def check_changelog() -> None:
    """Exits unless CHANGELOG.md has a section of this version, with its day."""
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    if not re.search(rf"^## \[{re.escape(VERSION)}\] - \d{{4}}-\d\d-\d\d$", text, re.MULTILINE):
        sys.exit(f"CHANGELOG.md: give the changes of {VERSION} a heading with the day")


def check_locks() -> None:
    """Exits unless `make lock` leaves the locks as they are."""
    files = [ROOT / "deploy" / name for name in LOCKS]
    before = [file.read_bytes() for file in files]
    try:
        run(["make", "lock"], reaches="the package index")
        if before != [file.read_bytes() for file in files]:
            sys.exit("deploy/*.lock are not what pyproject.toml asks for: make lock")
    finally:
        for file, text in zip(files, before, strict=True):
            file.write_bytes(text)


def build_packages(folder: Path) -> None:
    """The sdist, and the wheel from it, by the locked build requirements."""
    locked = ["--build-constraints", "deploy/build.lock", "--require-hashes"]
    run([BIN / "uv", "build", "--quiet", *locked, "--out-dir", folder], reaches="the package index")


def write_sbom(folder: Path) -> None:
    """What the image contains, in CycloneDX."""
    name = f"image_edit_gateway-{VERSION}.cdx.json"
    run(
        [
            BIN / "cyclonedx-py", "requirements", "--pyproject", "pyproject.toml",
            "--output-reproducible", "--output-file", folder / name, "deploy/requirements.lock",
        ]
    )  # fmt: skip


def audit() -> None:
    """Exits if a locked package has a known hole.

    Raises NotHere too where the database that is reached knows of no holes, as an index's mirror.
    """
    command: list[str | Path] = [BIN / "pip-audit", "--progress-spinner", "off", "--disable-pip"]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as old:
        old.write(f"{KNOWN_HOLE}\n")
        old.flush()
        found = subprocess.run([*command, "--no-deps", "-r", old.name], capture_output=True)
        if found.returncode == 0:
            raise NotHere(f"the database that is reached does not know those of {KNOWN_HOLE}")
    for name in LOCKS:
        locked = ["--require-hashes", "-r", f"deploy/{name}"]
        run([*command, *locked], reaches="a database of known holes")


def build_image(*options: str) -> None:
    """The image, tagged with the version, by what there is."""
    builder = next(filter(shutil.which, ("buildah", "podman", "docker")), None)
    if builder is None:
        raise NotHere("there is no buildah, podman or docker")
    tag = f"image-edit-gateway:{VERSION}"
    # Only Docker's format has a place for the health check.
    formatted = [] if builder == "docker" else ["--format", "docker"]
    run(
        [builder, "build", *formatted, *options, "-f", "deploy/Dockerfile", "-t", tag, "."],
        reaches="the registry of the base image",
    )


def main(image_options: Sequence[str]) -> None:
    dist = ROOT / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    check_changelog()
    steps: dict[str, Callable[[], None]] = {
        "the locks are what pyproject.toml asks for": check_locks,
        "the wheel and the sdist are in dist/": lambda: build_packages(dist),
        "the SBOM is in dist/": lambda: write_sbom(dist),
        "no locked package has a known hole": audit,
        f"the image is image-edit-gateway:{VERSION}": lambda: build_image(*image_options),
    }
    for text, step in steps.items():
        try:
            step()
        except NotHere as error:
            sys.stdout.write(f"NOT DONE  {text}: {error}\n")
        else:
            sys.stdout.write(f"done      {text}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
