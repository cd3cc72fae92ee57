"""Edits that take 150 seconds pass through every time-out of ours and of the clients, by default.

Time is compressed: every term of the default settings, the clients' own and the edit's length are
divided by the same number, so that what holds here holds there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gateway.emulator import EmulatorServer
from gateway.settings import ServerSettings, Settings, UpstreamSettings
from tests.clients import python_client
from tests.clients.environments import node_with_libraries
from tests.clients.pictures import is_grey_photograph
from tests.clients.scripts import Script
from tests.support.serving import KEY, Overrides, make_key, serving, settings_for

FASTER = 25
EDIT_SECONDS = 150 / FASTER
PYTHON_SECONDS = 600 / FASTER
NODE_SECONDS = 300 / FASTER
"""Node's own fetch gives up there, whatever the library's time-out is."""
OF_OTHERS = frozenset({"connect_timeout_seconds", "catalogue_seconds"})
"""Nothing waits so long for an edit."""


def faster() -> Overrides:
    """Every term of server and upstream, as it is by default, so many times shorter."""
    sections = {"server": ServerSettings(), "upstream": UpstreamSettings()}
    return {
        section: {
            name: value / FASTER
            for name, value in defaults.model_dump().items()
            if name.endswith("_seconds") and name not in OF_OTHERS
        }
        for section, defaults in sections.items()
    }


@pytest.fixture
def settings(tmp_path: Path, emulator: EmulatorServer) -> Settings:
    found = settings_for(tmp_path, emulator, faster())
    make_key(found)
    return found


@pytest.fixture
def node(pictures: Path, tmp_path: Path) -> Iterator[Script]:
    program, folder = node_with_libraries()
    command = [str(program), str(folder / "client.mjs")]
    with Script(command, pictures, tmp_path / "node.log") as script:
        yield script


def check(seen: dict[str, Any]) -> None:
    assert seen["tries"] == 1, seen
    if "events" in seen:
        assert [event["type"] for event in seen["events"]] == ["image_edit.completed"]
        assert is_grey_photograph(seen["events"][-1]["b64_json"])
    else:
        assert is_grey_photograph(seen["answer"]["data"][0]["b64_json"])


def test_python_waits_for_a_long_edit_and_for_a_long_stream(
    settings: Settings, emulator: EmulatorServer, pictures: Path
) -> None:
    emulator.order(always={"latency_seconds": EDIT_SECONDS})
    began = time.monotonic()
    with serving(settings) as gateway, ThreadPoolExecutor(2) as pool:
        usual = {
            "do": "edit", "base_url": gateway.base_url, "api_key": KEY, "folder": str(pictures),
            "images": [{"file": "photo.jpg", "as": "path"}], "timeout_seconds": PYTHON_SECONDS,
        }  # fmt: skip
        plain, streamed = (
            pool.submit(python_client.carried_out, {**usual, "fields": fields})
            for fields in (
                {"model": "deepshi-image-1", "prompt": "grey"},
                {"model": "deepshi-image-1", "prompt": "grey, streamed", "stream": True},
            )
        )
        check(plain.result(60))
        check(streamed.result(60))

    assert time.monotonic() - began > EDIT_SECONDS
    assert emulator.stats()["calls"] == emulator.stats()["billed_calls"] == 2


@pytest.mark.parametrize(
    "stream", [False, pytest.param(True, marks=pytest.mark.long)], ids=["plain", "stream"]
)
def test_node_waits_for_a_long_edit(
    node: Script, settings: Settings, emulator: EmulatorServer, stream: bool
) -> None:
    emulator.order(always={"latency_seconds": EDIT_SECONDS})
    with serving(settings) as gateway:
        fields = {"stream": True} if stream else {}
        images = [{"file": "photo.jpg", "as": "to file"}]
        check(node.edit(gateway, images=images, fields=fields, timeout_seconds=NODE_SECONDS))

    assert emulator.stats()["calls"] == emulator.stats()["billed_calls"] == 1


def test_an_edit_that_outlasts_a_client_s_wait_is_paid_for_once_all_the_same(
    settings: Settings, emulator: EmulatorServer, pictures: Path
) -> None:
    """As long as the upstream may take, which is longer than Node's patience."""
    emulator.order(always={"latency_seconds": 2.3 * EDIT_SECONDS})
    with serving(settings) as gateway:
        seen = python_client.carried_out(
            {
                "do": "edit", "base_url": gateway.base_url, "api_key": KEY,
                "folder": str(pictures), "images": [{"file": "photo.jpg", "as": "path"}],
                "timeout_seconds": NODE_SECONDS,
                "fields": {"model": "deepshi-image-1", "prompt": "grey"},
            }
        )  # fmt: skip

    assert is_grey_photograph(seen["answer"]["data"][0]["b64_json"])
    assert seen["tries"] == 2
    assert emulator.stats()["calls"] == emulator.stats()["billed_calls"] == 1
