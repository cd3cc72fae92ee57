"""The image, built from the Dockerfile on a base that debootstrap makes, and run as a container.

No registry of images is needed: Debian's own packages are. As root, since a base is made as root.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

TOOLS = ("buildah", "podman", "runc", "debootstrap")
BASE, IMAGE = "localhost/python-debian", "localhost/image-edit-gateway:test"
BASE_PACKAGES = "python3,python3-venv,python3-pip,python-is-python3,ca-certificates"
_BUILD_SECONDS, _RUN_SECONDS = 1200, 180


def skip_where_no_image_can_be_built() -> None:
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        pytest.skip(f"apt-get install {' '.join(missing)} (no container can be built without)")
    if os.geteuid() != 0:
        pytest.skip("only root can make a base with debootstrap")


class Containers:
    """A store of images of its own, and what is run from it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._store = [
            "--storage-driver", "vfs", "--root", str(folder / "store"),
            "--runroot", str(folder / "run"),
        ]  # fmt: skip

    def build(self) -> None:
        """The image, with the Dockerfile's base given by its argument."""
        self._make_base()
        self._buildah(
            "build", "--isolation", "chroot", "--format", "docker", "--build-arg", f"PYTHON={BASE}",
            # The base trusts what this machine trusts, so that pip reaches the same index.
            "--volume", "/etc/ssl/certs:/etc/ssl/certs:ro",
            "-f", "deploy/Dockerfile", "-t", IMAGE, ".",
        )  # fmt: skip

    def _make_base(self) -> None:
        root = self._folder / "base"
        mirror, suite = _mirror()
        _run(
            ["debootstrap", "--variant=minbase", f"--include={BASE_PACKAGES}", suite, root, mirror]
        )
        name = self._buildah("from", "scratch").strip()
        self._buildah("add", "--quiet", name, f"{root}/", "/")
        self._buildah("config", "--env", "PATH=/usr/local/bin:/usr/bin:/bin", name)
        self._buildah("commit", "--quiet", "--rm", name, BASE)
        shutil.rmtree(root)

    @contextmanager
    def running(self, name: str, volume: Path, environment: Mapping[str, str]) -> Iterator[None]:
        """The image's own command, with a read-only root, in this machine's network."""
        given = [part for item in environment.items() for part in ("--env", "=".join(item))]
        # Above a limit of this machine no container can be started.
        limit = min(1024, *(resource.getrlimit(kind)[1] for kind in _LIMITS))
        self.podman(
            "run", "--detach", "--name", name, "--read-only", "--network", "host",
            "--tmpfs", "/tmp", "--volume", f"{volume}:/var/lib/image-edit-gateway",
            "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
            "--ulimit", f"nofile={limit}:{limit}", "--ulimit", f"nproc={limit}:{limit}",
            *given, IMAGE,
        )  # fmt: skip
        try:
            yield
        finally:
            self.podman("rm", "--force", name)

    def podman(self, *arguments: str) -> str:
        engine = ["--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "file"]
        return _run(["podman", *self._store, *engine, *arguments], _RUN_SECONDS)

    def _buildah(self, *arguments: str) -> str:
        return _run(["buildah", *self._store, *arguments])


_LIMITS = (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC)


def _mirror() -> tuple[str, str]:
    """The archive and the suite from which apt installs on this machine."""
    targets = _run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"]
    )
    uri, suite = targets.splitlines()[0].split()
    return uri, suite


def _run(command: list[str | Path], timeout_seconds: float = _BUILD_SECONDS) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_seconds)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout
