"""The image as a container: built by the repository's Dockerfile, run as its own user."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gateway.emulator import EmulatorServer
from tests.deploy.containers import Containers, skip_where_no_image_can_be_built
from tests.project.test_readme import free_port
from tests.support.serving import Served
from tests.support.waiting import until

NAME = "gateway-of-a-test"


@pytest.fixture(scope="module")
def containers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containers]:
    skip_where_no_image_can_be_built()
    folder = tmp_path_factory.mktemp("containers")
    try:
        made = Containers(folder)
        made.build()
        yield made
    finally:
        shutil.rmtree(folder)  # some gigabytes


def _is_ready(served: Served) -> bool:
    try:
        with served.client() as client:
            return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.long
def test_a_container_with_a_read_only_root_edits_is_checked_and_stops(
    containers: Containers, emulator: EmulatorServer, tmp_path: Path
) -> None:
    volume = tmp_path / "volume"
    volume.mkdir(mode=0o700)
    subprocess.run(["chown", "10001:10001", volume], check=True)
    served = Served(f"http://127.0.0.1:{free_port()}")
    environment = {
        "DEEPSHI_API_KEY": emulator.api_key,
        "GATEWAY_UPSTREAM__BASE_URL": emulator.base_url,
        "GATEWAY_SERVER__PORT": served.url.rpartition(":")[2],
    }
    with containers.running(NAME, volume, environment):
        until(lambda: _is_ready(served), 60)

        def gateway(*arguments: str) -> str:
            return containers.podman("exec", NAME, "gateway", *arguments)

        gateway("teams", "create", "design", "--budget-usd", "50")
        made = json.loads(gateway("keys", "create", "--team", "design", "--name", "a", "--json"))
        first, second = (served.edit(key=made["secret"]) for _ in range(2))
        assert (first.status_code, first.headers["x-gateway-cache"]) == (200, "MISS")
        assert (second.status_code, second.headers["x-gateway-cache"]) == (200, "HIT")
        assert emulator.stats()["calls"] == 1
        assert "FAULT" not in gateway("check")
        assert {row["actor"] for row in json.loads(gateway("audit", "--json"))} == {"cli:gateway"}

        assert containers.podman("exec", NAME, "id", "-u").strip() == "10001"
        with pytest.raises(AssertionError, match="Read-only file system"):
            containers.podman("exec", NAME, "touch", "/opt/image-edit-gateway/probe")
        containers.podman("healthcheck", "run", NAME)

        containers.podman("stop", "--time", "60", NAME)
        state = json.loads(containers.podman("inspect", NAME))[0]["State"]
        assert (state["Status"], state["ExitCode"]) == ("exited", 0)
    assert (volume / "gateway.db").stat().st_uid == 10001
