"""The Kubernetes manifests, as they are written and as kustomize builds them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path("deploy/kubernetes")
NO_MANIFESTS = {"Kustomization", "Component"}


def written() -> list[dict[str, Any]]:
    """Every document of every file, overlays included."""
    found = [
        document
        for path in sorted(ROOT.rglob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text())
    ]
    return [each for each in found if each["kind"] not in NO_MANIFESTS]


def built() -> list[dict[str, Any]]:
    """What the example overlay comes to; skips the test where there is no kubectl."""
    if not shutil.which("kubectl"):
        pytest.skip("no kubectl here")
    done = subprocess.run(
        ["kubectl", "kustomize", str(ROOT / "overlays" / "example")],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def one(kind: str, documents: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    (found,) = [each for each in documents or written() if each["kind"] == kind]
    return found


def pod() -> dict[str, Any]:
    """The pod's specification in the Deployment."""
    found: dict[str, Any] = one("Deployment")["spec"]["template"]["spec"]
    return found


def container() -> dict[str, Any]:
    (found,) = pod()["containers"]
    assert isinstance(found, dict)
    return found
