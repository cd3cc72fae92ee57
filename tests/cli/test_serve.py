"""Starting the gateway: what it says, and what it says where it can't."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from gateway.cli import main
from gateway.cli.demo import announce_demo
from gateway.emulator import EmulatorServer, Knobs
from tests.support.serving import KEY, GatewayProcess, make_key, settings_for, tables_of


def gateway(
    *arguments: str, folder: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        cwd=folder, env={**os.environ, **(environment or {})},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_a_gateway_without_keys_says_so_and_how_to_make_one(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    with GatewayProcess(tables_of(tmp_path, emulator), tmp_path) as process:
        said = process.log.read_text()
        status = process.stop()

    found = re.findall(r"^    (.*gateway) (teams create|keys create) (.*)$", said, re.MULTILINE)
    assert [what for _, what, _ in found] == ["teams create", "keys create"]
    assert status == 0
    assert "Traceback" not in process.log.read_text()


def test_a_gateway_without_an_upstream_key_does_not_start_and_says_why(tmp_path: Path) -> None:
    done = gateway("serve", folder=tmp_path, environment={"DEEPSHI_API_KEY": ""})

    assert done.returncode == 1
    assert done.stderr.startswith("Error: [upstream] api_key is empty: set DEEPSHI_API_KEY")
    assert len(done.stderr.splitlines()) == 1


def test_the_commands_that_it_prints_do_what_they_say(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    """Copied from the start's own words, while it runs."""
    with GatewayProcess(tables_of(tmp_path, emulator), tmp_path) as process:
        said = process.log.read_text()
        for line in re.findall(r"^    (.*gateway (?:teams|keys) create .*)$", said, re.MULTILINE):
            done = subprocess.run(
                shlex.split(line), cwd="/", capture_output=True, text=True, timeout=60
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
        secret = re.search(r"sk-\S+", done.stdout)
        assert secret
        deadline = time.monotonic() + 2
        while (status := process.edit(key=secret[0]).status_code) == 401:
            assert time.monotonic() < deadline, "a new key is in force within a second"
            time.sleep(0.1)

    assert status == 200


def test_a_gateway_with_keys_serves_and_says_where(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    make_key(settings_for(tmp_path, emulator))
    with GatewayProcess(tables_of(tmp_path, emulator), tmp_path) as process:
        answer = process.edit()
        said = process.log.read_text()

    assert answer.status_code == 200
    assert "No API key" not in said
    assert emulator.base_url in said
    assert KEY not in said


def test_a_port_already_taken_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = gateway(
            "serve", "--port", str(port),
            folder=tmp_path, environment={"DEEPSHI_API_KEY": "sk-upstream"},
        )  # fmt: skip

    assert done.returncode == 1
    assert f"can't listen on 127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_demo_whose_emulator_s_port_is_taken_says_how_to_choose_another(tmp_path: Path) -> None:
    with socket.socket() as other, socket.socket() as free:
        other.bind(("127.0.0.1", 0))
        other.listen()
        free.bind(("127.0.0.1", 0))
        port, own = other.getsockname()[1], free.getsockname()[1]
        free.close()
        done = gateway(
            "demo", "--emulator-port", str(port),
            folder=tmp_path, environment={"GATEWAY_SERVER__PORT": str(own)},
        )  # fmt: skip

    assert done.returncode == 1
    assert f"can't listen on 127.0.0.1:{port}: Address already in use. Stop" in done.stderr
    assert "demo --emulator-port PORT" in done.stderr


def test_a_setting_that_is_none_names_the_nearest_that_is(tmp_path: Path) -> None:
    done = gateway("serve", folder=tmp_path, environment={"GATEWAY_SERVER__PROT": "1"})

    assert done.returncode == 1
    assert "[server] no setting 'prot'. Did you mean 'port'?" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_line_of_the_demo_points_commands_at_its_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    announce_demo("http://gateway", "http://emulator", "gwt-token")
    (line,) = re.findall("^    (export .*)$", capsys.readouterr().err, re.MULTILINE)
    command = f'{line}; echo "$GATEWAY_STATE__URL" "$GATEWAY_CACHE__URL"'
    found = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)

    assert found.stdout == f"sqlite:{folder}/var/demo/gateway.db disk:{folder}/var/demo/cache\n"


def test_check_says_what_is_there_and_fails_where_something_is_missing(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    make_key(settings_for(tmp_path, emulator))
    environment = {
        "GATEWAY_STATE__URL": f"sqlite:{tmp_path / 'gateway.db'}",
        "GATEWAY_UPSTREAM__BASE_URL": emulator.base_url,
        "DEEPSHI_API_KEY": emulator.api_key,
    }
    good = gateway("check", folder=tmp_path, environment=environment)
    environment["GATEWAY_SERVER__PUBLIC_URL"] = "https://images.example/"
    environment["GATEWAY_UPSTREAM__BASE_URL"] = "http://127.0.0.1:9/v1"
    bad = gateway("check", folder=tmp_path, environment=environment)

    assert good.returncode == 0, good.stdout + good.stderr
    assert "teams: 1, keys: 1" in good.stdout
    assert "prices    the price table that ships: version " in good.stdout
    assert "5 models, 4 can edit: deepshi-" in good.stdout
    assert "links     note: answers to response_format=url are the upstream's" in good.stdout
    assert re.search("note: no price of .*deepshi-multi-1", good.stdout)
    assert not re.search("no price of .*deepshi-image-1,", good.stdout), "it is documented"
    assert "design" in good.stdout, "the team without a budget is named"
    assert "defaults and the environment: valid" in good.stdout, "no file is there"
    assert bad.returncode == 1
    assert "links     links to pictures begin https://images.example\n" in bad.stdout
    assert "FAULT: http://127.0.0.1:9/v1: GET /models: ClientConnectorError: " in bad.stdout


def test_every_fault_of_the_emulator_is_explained_where_it_is_ordered() -> None:
    said = CliRunner().invoke(main, ["emulate", "--help"]).output

    assert "None" not in said
    for knob in fields(Knobs):
        flag = "--" + knob.name.replace("_", "-")
        assert re.search(rf"{flag} [A-Z|a-z]+\s+\w", said), flag


def test_check_tries_every_upstream_key(tmp_path: Path, emulator: EmulatorServer) -> None:
    make_key(settings_for(tmp_path, emulator))
    environment = {
        "GATEWAY_STATE__URL": f"sqlite:{tmp_path / 'gateway.db'}",
        "GATEWAY_UPSTREAM__BASE_URL": emulator.base_url,
        "GATEWAY_UPSTREAM__API_KEY": f"{emulator.api_key},sk-revoked-0000",
    }
    found = gateway("check", folder=tmp_path, environment=environment)

    assert found.returncode == 1
    assert "key 2:…0000: GET /models answered 401" in found.stdout
    assert "key 1" not in found.stdout
    assert "sk-revoked" not in found.stdout


def test_ctrl_c_ends_the_emulator_cleanly(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "emulate", "--api", "gemini", "--port", str(port)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert f":{port}/v1beta;" in process.stdout.readline()
    transport = httpx.HTTPTransport(retries=10)
    with httpx.Client(transport=transport, trust_env=False) as client:
        assert client.get(f"http://127.0.0.1:{port}/emulator/stats").status_code == 200
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)

    assert process.returncode == 0, said
    assert "Traceback" not in said
