"""What the README says to type is typed here, and does what it says."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

README = Path("README.md").read_text()


def free_port() -> int:
    """A port that nobody has, and that no outgoing connection is given until it is taken."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("a hundred ports are taken")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, str]]:
    """`gateway demo` in a folder of its own: the two URLs, and what it printed."""
    folder = tmp_path_factory.mktemp("demo")
    port, emulator_port = free_port(), free_port()
    environment = {**os.environ, "GATEWAY_SERVER__PORT": str(port)}
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "demo", "--emulator-port", str(emulator_port),
         "--latency-seconds", "0.05"],
        cwd=folder, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    printed = ""
    for line in process.stderr:
        printed += line
        if "Ctrl-C" in line:
            break
    yield f"127.0.0.1:{port}", f"127.0.0.1:{emulator_port}", printed
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=20)
    assert process.returncode in (0, -signal.SIGINT), rest
    assert "Traceback" not in rest[1]


def of_readme(start: str) -> str:
    """The first shell block of the README that begins so."""
    found = re.search(rf"```sh\n({re.escape(start)}.*?)```", README, re.DOTALL)
    assert found, f"the README has no block that begins with {start!r}"
    return found[1]


def run(command: str) -> str:
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_readme_s_curl_twice_is_a_picture_and_then_a_hit_that_costs_nothing(
    demo: tuple[str, str, str],
) -> None:
    gateway, emulator, _ = demo
    curl = of_readme("curl -si").replace("127.0.0.1:8080", gateway)
    first, second = run(curl).lower(), run(curl).lower()

    assert "x-gateway-cache: miss" in first
    assert "x-gateway-cost-usd: 0.01" in first
    assert "x-gateway-cache: hit" in second
    assert re.search(r"x-gateway-cost-usd: 0\s", second)
    with urllib.request.urlopen(f"http://{emulator}/emulator/stats", timeout=5) as answer:
        assert json.load(answer)["billed_calls"] == 1


def test_the_demo_prints_a_curl_that_can_be_pasted(demo: tuple[str, str, str]) -> None:
    gateway, _, printed = demo
    found = re.search(r"(    curl .*?)\n\n", printed, re.DOTALL)
    assert found
    photograph = re.search(r"@(\S+)'", found[1])
    assert photograph
    command = found[1].replace(photograph[1], str(Path("gateway/emulator/sample.jpg").absolute()))

    assert "x-gateway-cache:" in run(command).lower()
    assert gateway in command
