"""What is released: the packages are whole, and their version is in one place."""

from __future__ import annotations

import email
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from deploy import lock, release
from gateway.emulator import SAMPLE_PHOTOGRAPH
from tests.deploy.test_lock import locked
from tests.project.test_readme import free_port
from tests.support.serving import Served

PACKAGE = Path("gateway")
TRACKED = [
    path
    for path in PACKAGE.rglob("*")
    if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist, as a release builds them."""
    folder = tmp_path_factory.mktemp("packages")
    try:
        release.build_packages(folder)
    except release.NotHere as error:
        pytest.skip(str(error))
    return folder


def test_the_version_is_in_pyproject_and_the_changelog_alone() -> None:
    files = [Path("README.md"), *Path("deploy").rglob("*.*"), *Path("docs").glob("*.md")]
    naming = [
        str(path)
        for path in files
        if path.suffix in {".md", ".yaml", ".toml", ".service", ".conf", ""}
        and re.search(rf"(?<![\d.]){re.escape(release.VERSION)}(?![\d.])", path.read_text())
    ]
    assert naming == []
    assert lock.PYPROJECT["project"]["version"] == release.VERSION


def test_the_changelog_has_a_dated_section_of_the_version() -> None:
    release.check_changelog()


def test_what_the_package_reads_at_run_time_is_packaged() -> None:
    (patterns,) = lock.PYPROJECT["tool"]["setuptools"]["package-data"].values()
    data = {str(path.relative_to("gateway")) for path in TRACKED if path.suffix != ".py"}
    packaged = {
        str(path.relative_to("gateway")) for glob in patterns for path in PACKAGE.glob(glob)
    }
    assert data - {"py.typed"} == packaged
    assert "database/migrations/0001_accounts.sql" in packaged


@pytest.mark.long
def test_wheel_and_sdist_hold_every_file_of_the_package_and_no_test(packages: Path) -> None:
    (wheel,), (sdist,) = packages.glob("*.whl"), packages.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
        (metadata,) = [name for name in inside if name.endswith(".dist-info/METADATA")]
        facts = email.message_from_bytes(archive.read(metadata))
    assert {str(path) for path in TRACKED} <= inside
    assert {name.partition("/")[0] for name in inside} == {"gateway", metadata.partition("/")[0]}
    assert facts["Version"] == release.VERSION
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {str(path) for path in TRACKED} <= names


@pytest.mark.long
def test_an_installed_wheel_serves_the_demo_without_the_repository(
    packages: Path, tmp_path: Path
) -> None:
    (wheel,) = packages.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True, timeout=120)
    installed = subprocess.run(
        [tmp_path / "venv/bin/python", "-m", "pip", "install", "--quiet", str(wheel)],
        cwd=tmp_path, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    if installed.returncode and "from versions: none" in installed.stderr:
        pytest.skip("no package index can be reached")
    assert installed.returncode == 0, installed.stderr
    command = str(tmp_path / "venv/bin/gateway")
    said = subprocess.run([command, "--version"], cwd=tmp_path, capture_output=True, text=True)
    assert said.stdout == f"gateway, version {release.VERSION}\n"

    port = free_port()
    process = subprocess.Popen(
        [command, "demo", "--emulator-port", str(free_port()), "--latency-seconds", "0.05"],
        cwd=tmp_path, env={"PATH": os.environ["PATH"], "GATEWAY_SERVER__PORT": str(port)},
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    printed = ""
    for line in process.stderr:
        printed += line
        if "Ctrl-C" in line:
            break
    served = Served(f"http://127.0.0.1:{port}")
    outcomes = [served.edit(key="sk-demo").headers["x-gateway-cache"] for _ in range(2)]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert outcomes == ["MISS", "HIT"], printed
    photograph = re.search(r"image\[\]=@([^']+)'", printed)
    assert photograph
    assert (tmp_path / photograph[1]).read_bytes() == SAMPLE_PHOTOGRAPH.read_bytes()


@pytest.mark.long
def test_the_sbom_lists_what_is_locked(tmp_path: Path) -> None:
    if not (release.BIN / "cyclonedx-py").exists():
        pytest.skip("pip install 'image-edit-gateway[release]'")
    release.write_sbom(tmp_path)
    (file,) = tmp_path.iterdir()
    document = json.loads(file.read_text())
    assert document["metadata"]["component"]["version"] == release.VERSION
    listed = {each["name"].lower(): each["version"] for each in document["components"]}
    assert listed == locked("requirements")
