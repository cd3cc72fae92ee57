"""The Kubernetes manifests, as they are written and as kustomize builds them."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path("deploy/kubernetes")
OVERLAYS = ("one", "many")
COMPONENTS = sorted(path.name for path in (ROOT / "components").iterdir())
NO_MANIFESTS = {"Kustomization", "Component"}


def built(overlay: str) -> list[dict[str, Any]]:
    """What the overlay comes to with every component; skips the test where there is no kubectl."""
    if not shutil.which("kubectl"):
        pytest.skip("no kubectl here")
    return list(yaml.safe_load_all(_built(overlay)))


@functools.cache
def _built(overlay: str) -> str:
    listed = yaml.safe_load((ROOT / "overlays" / overlay / "kustomization.yaml").read_text())
    present = {Path(path).name for path in listed["components"]}
    with tempfile.TemporaryDirectory() as folder:
        up = os.path.relpath(ROOT.absolute(), os.path.realpath(folder))
        document = {
            "resources": [f"{up}/overlays/{overlay}"],
            "components": [f"{up}/components/{name}" for name in COMPONENTS if name not in present],
            "namespace": listed["namespace"],
        }
        (Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump(document))
        done = subprocess.run(
            ["kubectl", "kustomize", folder], capture_output=True, text=True, timeout=120
        )
    assert done.returncode == 0, done.stderr
    return done.stdout


def written() -> list[tuple[Path, Any]]:
    """Every document of every file, with its file."""
    return [
        (path, document)
        for path in sorted(ROOT.rglob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text())
    ]


def one(kind: str, documents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    (found,) = [each for each in documents if each["kind"] == kind]
    return found


def pod(overlay: str) -> dict[str, Any]:
    """The pod's specification in the Deployment."""
    found: dict[str, Any] = one("Deployment", built(overlay))["spec"]["template"]["spec"]
    return found


def container(overlay: str) -> dict[str, Any]:
    (found,) = pod(overlay)["containers"]
    assert isinstance(found, dict)
    return found


def settings_text(overlay: str) -> str:
    """The settings of the overlay, with values where it says CHANGE-ME."""
    text = (ROOT / "overlays" / overlay / "gateway.toml").read_text()
    return text.replace('["CHANGE-ME"]', '["10.0.0.0/8"]').replace("CHANGE-ME", "pictures")
