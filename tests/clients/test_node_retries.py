"""openai-node retries by itself: what it may not pay for twice, by count of upstream calls."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gateway.emulator import SAMPLE_PHOTOGRAPH, EmulatorServer
from tests.serving import KEY, Running, make_key, serving, settings_for

PACKAGE = "openai@6"  # the newest line that runs on Node 20
SCRIPT = """
import OpenAI, { toFile } from "openai";
import fs from "fs";
const { baseURL, apiKey, photograph, ...options } = JSON.parse(process.argv[2]);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 4, ...options });
const image = await toFile(fs.createReadStream(photograph), "a.jpg");
try {
  const asked = { model: "deepshi-image-1", prompt: "make it grey", image };
  const made = await client.images.edit(asked);
  console.log(JSON.stringify({ pictures: made.data.length }));
} catch (error) {
  console.log(JSON.stringify({ status: error.status, code: error.code, id: error.requestID }));
}
"""


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the SDK and a script; skips where there is no Node, or no way to the SDK."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("no Node here")
    folder = tmp_path_factory.mktemp("node")
    (folder / "package.json").write_text('{"private": true}')
    (folder / "edit.mjs").write_text(SCRIPT)
    done = subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", PACKAGE],
        cwd=folder, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"{PACKAGE} can't be installed: {done.stderr[-200:]}")
    return folder


def edit(node: Path, gateway: Running, **options: Any) -> dict[str, Any]:
    """One edit by the SDK, with its own retries."""
    asked = {
        "baseURL": gateway.base_url, "apiKey": KEY, "photograph": str(SAMPLE_PHOTOGRAPH), **options,
    }  # fmt: skip
    done = subprocess.run(
        ["node", "edit.mjs", json.dumps(asked)],
        cwd=node, env=os.environ, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ({"status": 500}, 502, "upstream_failed"),
        ({"reset_after_read": True}, 502, "upstream_failed"),
        ({"truncate": True}, 502, "upstream_failed"),
        ({"status": 400}, 400, "emulated_failure"),
    ],
)
def test_openai_node_buys_a_failure_once_however_often_it_is_asked(
    node: Path,
    gateway: Running,
    emulator: EmulatorServer,
    fault: dict[str, object],
    status: int,
    code: str,
) -> None:
    emulator.order(fault)
    first, again = edit(node, gateway), edit(node, gateway)

    for answer in (first, again):
        assert (answer["status"], answer["code"]) == (status, code)
        assert answer["id"].startswith("req_")
    assert emulator.stats()["calls"] == 1


@pytest.mark.parametrize("word", ["", "no-cache", "no-store"])
def test_openai_node_that_loses_patience_pays_once(
    node: Path, gateway: Running, emulator: EmulatorServer, word: str
) -> None:
    emulator.order({"latency_seconds": 1.5})
    headers = {"cache-control": word} if word else {}

    assert edit(node, gateway, timeout=600, defaultHeaders=headers) == {"pictures": 1}
    assert emulator.stats()["calls"] == 1


def test_openai_node_joins_the_edit_that_it_is_told_still_runs(
    node: Path, tmp_path: Path, emulator: EmulatorServer
) -> None:
    settings = settings_for(tmp_path, emulator, {"server": {"client_wait_seconds": 1}})
    make_key(settings)
    emulator.order({"latency_seconds": 2.5})
    with serving(settings) as gateway:
        assert edit(node, gateway) == {"pictures": 1}
    assert emulator.stats()["calls"] == 1
