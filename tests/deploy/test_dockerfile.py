"""The image: what it is made of, who it runs as, and that its steps give a gateway that edits."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gateway.emulator import EmulatorServer
from tests.deploy import dockerfile
from tests.project.test_readme import free_port
from tests.support.serving import Served, make_key, settings_for
from tests.support.waiting import until

HOME = "/opt/image-edit-gateway"
STATE = "/var/lib/image-edit-gateway"
ETC = "/etc/image-edit-gateway"


def test_the_last_stage_runs_as_a_number_that_is_not_root_and_installs_nothing() -> None:
    assert dockerfile.of("USER", 1) == ["10001:10001"]
    assert not any("pip" in step or "apt" in step for step in dockerfile.of("RUN", 1))
    assert dockerfile.of("STOPSIGNAL") == ["SIGTERM"]
    assert json.loads(dockerfile.of("ENTRYPOINT")[0]) == ["gateway"]


def test_whatever_comes_from_an_index_is_held_to_a_lock_s_hashes() -> None:
    for step in dockerfile.of("RUN"):
        if "pip" in step and re.search(r"\b(install|wheel|download)\b", step):
            assert "--no-index" in step or "--require-hashes --only-binary :all: -r" in step, step


def test_the_base_is_pinned_by_the_digest_of_one_python() -> None:
    (base,) = dockerfile.of("ARG")
    assert re.fullmatch(r"PYTHON=python:3\.\d+-slim-\w+@sha256:[0-9a-f]{64}", base)
    assert {stage.split()[0] for stage in dockerfile.of("FROM")} == {"${PYTHON}"}


def test_every_folder_that_is_written_to_is_a_volume() -> None:
    volumes = json.loads(dockerfile.of("VOLUME")[0])
    assert volumes == [STATE, "/tmp"]
    assert dockerfile.of("WORKDIR", 1) == [STATE]


def test_what_is_copied_is_let_through_by_the_dockerignore_and_is_there() -> None:
    allowed = {
        line[1:] for line in Path(".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    copied = {
        source
        for rest in dockerfile.of("COPY")
        if not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    assert copied == allowed
    assert all(Path(source).exists() for source in copied)


def test_the_health_check_tells_a_gateway_that_is_up_from_one_that_is_not(
    gateway: Served,
) -> None:
    (check,) = dockerfile.of("HEALTHCHECK")
    command = [sys.executable, *json.loads(check.partition("CMD ")[2])[1:]]
    port = gateway.url.rpartition(":")[2]

    def asked(port: str) -> int:
        environment = {**os.environ, "GATEWAY_SERVER__PORT": port}
        return subprocess.run(command, env=environment, capture_output=True, timeout=30).returncode

    assert asked(port) == 0
    assert asked(str(free_port())) != 0


# --- the steps, replayed --------------------------------------------------------------


@pytest.fixture(scope="module")
def replayed() -> Iterator[Path]:
    """A folder that the Dockerfile's COPY and RUN steps have filled as if it were the root.

    `python` is a clean virtual environment with pip, as the base image has it; the paths of the
    image are moved below the folder.
    """
    root = Path(tempfile.mkdtemp(prefix="gateway-image-"))
    subprocess.run([sys.executable, "-m", "venv", root / "usr"], check=True, timeout=120)
    workdir = "/"
    try:
        for step in dockerfile.instructions():
            if step.word == "WORKDIR":
                workdir = step.rest
                (root / workdir[1:]).mkdir(parents=True, exist_ok=True)
            elif step.word == "COPY" and not step.rest.startswith("--from"):
                *sources, target = step.rest.split()
                for source in sources:
                    _copy(Path(source), root / workdir[1:], target, root)
            elif step.word == "RUN":
                _run(step.rest, root, root / workdir[1:])
        yield root
    finally:
        shutil.rmtree(root)


def _copy(source: Path, workdir: Path, target: str, root: Path) -> None:
    place = root / target[1:] if target.startswith("/") else workdir / target
    if source.is_dir():
        shutil.copytree(source, place, ignore=shutil.ignore_patterns("__pycache__"))
        return
    into = place / source.name if target.endswith("/") else place
    into.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, into)


def _run(command: str, root: Path, workdir: Path) -> None:
    command = re.sub(r"(?<=\s)/(opt|src|var|etc)/", rf"{root}/\1/", f" {command}")
    if os.geteuid() != 0:
        command = re.sub(r"-[og] 10001", "", command)  # only root can give a folder away
    done = subprocess.run(
        ["bash", "-ec", command],
        cwd=workdir,
        env={**os.environ, "PATH": f"{root}/usr/bin:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


@pytest.mark.long
def test_the_steps_give_a_gateway_that_edits_and_writes_to_its_volumes_alone(
    replayed: Path, emulator: EmulatorServer, tmp_path: Path
) -> None:
    port = free_port()
    settings = settings_for(
        tmp_path,
        emulator,
        {
            "cache": {"url": f"disk:{replayed}{STATE}/results"},
            "state": {"url": f"sqlite:{replayed}{STATE}/gateway.db"},
        },
    )
    make_key(settings)
    before = _written(replayed)
    environment = {
        "PATH": f"{replayed}{HOME}/bin:/usr/bin:/bin",
        "PYTHONDONTWRITEBYTECODE": "1",
        "GATEWAY_CONFIG": f"{replayed}{ETC}/gateway.toml",
        "GATEWAY_SERVER__PORT": str(port),
        "GATEWAY_SERVER__SPOOL_FOLDER": f"{replayed}{STATE}/spool",
        "GATEWAY_CACHE__URL": settings.cache.url,
        "GATEWAY_STATE__URL": settings.state.url,
        "GATEWAY_UPSTREAM__BASE_URL": emulator.base_url,
        "DEEPSHI_API_KEY": emulator.api_key,
        "TMPDIR": f"{replayed}/tmp",
    }
    (replayed / "tmp").mkdir()
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*_read_only(replayed), f"{replayed}{HOME}/bin/gateway", "serve"],
            env=environment,
            cwd=f"{replayed}{STATE}",
            stdout=out,
            stderr=out,
        )
    served = Served(f"http://127.0.0.1:{port}")
    try:
        until(lambda: process.poll() is not None or _ready(served), 60)
        assert process.poll() is None, log.read_text()
        first, second = served.edit(), served.edit()
    finally:
        process.terminate()
        assert process.wait(60) == 0, log.read_text()

    assert (first.status_code, first.headers["x-gateway-cache"]) == (200, "MISS")
    assert (second.status_code, second.headers["x-gateway-cache"]) == (200, "HIT")
    assert _written(replayed) == before
    named = [line.split(":") for line in (replayed / "etc/passwd").read_text().splitlines()]
    assert ":".join(named[-1][2:4]) == dockerfile.of("USER", 1)[0]


def _ready(served: Served) -> bool:
    try:
        with served.client() as client:
            return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


def _read_only(root: Path) -> list[str]:
    """Runs what follows with every file system that holds `root` read-only but for the volumes.

    In a mount namespace of its own, where this machine lets us have one; else as it is, and what
    was written to is looked at afterwards.
    """
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0:
        return []
    script = (
        'for volume in "$1" "$2"; do mount --bind "$volume" "$volume"; done; '
        'mount -o remount,bind,ro /; mount -o remount,bind,ro "$(stat -c %m "$3")"; '
        'if touch "$3/probe" 2>/dev/null; then echo "not read-only" >&2; exit 9; fi; '
        'shift 3; exec "$@"'
    )
    volumes = [f"{root}{STATE}", f"{root}/tmp", str(root)]
    return ["unshare", "--mount", "bash", "-ec", script, "bash", *volumes]


def _written(root: Path) -> dict[str, int]:
    """Every file outside of the volumes, and when it was last written to."""
    return {
        str(path): path.stat().st_mtime_ns
        for path in root.rglob("*")
        if not path.is_relative_to(f"{root}{STATE}")
        and not path.is_relative_to(root / "tmp")
        and path.is_file()
    }
