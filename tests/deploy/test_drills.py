"""The drills of deploy/README.md, carried out with its own commands."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from gateway.cli import main
from gateway.emulator import EmulatorServer
from tests.deploy.test_guide import GUIDE, blocks_of
from tests.support.buckets import make_bucket, s3_server, url_of
from tests.support.engines import fresh_schema, postgres_url
from tests.support.serving import GatewayProcess, make_key, settings_for, tables_of
from tests.support.waiting import until

__all__ = ["postgres_url"]


@dataclass
class Terminal:
    """Where the guide's blocks are typed: a folder, and what is in the environment."""

    folder: Path
    environment: dict[str, str]

    def type_block(self, start: str, exported: str = "") -> None:
        """Type the block that begins so; `exported` is what its `export` is given instead.

        PREVIEW_ID is what the line before has printed.
        """
        output = ""
        (block,) = [each for each in blocks_of(GUIDE) if each.startswith(start)]
        for line in block.splitlines():
            for preview in re.findall(r"prv_[0-9a-f]+", output):
                line = line.replace("PREVIEW_ID", preview)
            words = shlex.split(line, comments=True)
            if words[0] == "export":
                self.environment[words[1].partition("=")[0]] = exported
            else:
                assert words[0] == "gateway"
                output = self.type(*words[1:])

    def type(self, *words: str) -> str:
        done = CliRunner().invoke(main, list(words), env=self.environment)
        assert done.exit_code == 0, f"{words}\n{done.output}"
        return done.stdout

    def spent_usd(self) -> Decimal:
        """What the proven ledger comes to."""
        return Decimal(json.loads(self.type("ledger", "verify", "--json"))["spent_usd"])


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    folder = tmp_path / "typed"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return Terminal(folder, {"GATEWAY_STATE__URL": f"sqlite:{tmp_path / 'gateway.db'}"})


def gateway_in(folder: Path, emulator: EmulatorServer, more: Any = None) -> GatewayProcess:
    return GatewayProcess(tables_of(folder, emulator, more), folder)


def bill_of(emulator: EmulatorServer) -> Decimal:
    return Decimal(emulator.stats()["billed_usd"])


def test_a_lost_state_is_restored_and_then_says_what_the_upstream_bills(
    terminal: Terminal, emulator: EmulatorServer, tmp_path: Path
) -> None:
    make_key(settings_for(tmp_path, emulator))
    with gateway_in(tmp_path, emulator) as gateway:
        assert gateway.edit("before").status_code == 200
        terminal.type("state", "backup", "gateway.backup")
        assert gateway.edit("after the backup").status_code == 200
        assert gateway.edit("and once more").status_code == 200
    for file in tmp_path.glob("gateway.db*"):
        file.unlink()  # the disk is gone

    terminal.type("state", "restore", "gateway.backup")
    assert terminal.spent_usd() == Decimal("0.01")
    terminal.type("pause", "--reason", "restored")
    statement = httpx.get(f"{emulator.origin}/emulator/statement", params={"format": "csv"})
    (terminal.folder / "statement.csv").write_text(statement.text)
    terminal.type_block("gateway ledger reconcile")
    assert terminal.spent_usd() == bill_of(emulator) == Decimal("0.03")
    with gateway_in(tmp_path, emulator) as gateway:
        assert gateway.edit("after the backup").headers["x-gateway-cache"] == "HIT"
        assert gateway.edit("a new one").headers["x-gateway-cache"] == "MISS"


def test_lost_results_are_bought_again_as_they_are_asked_for(
    terminal: Terminal, emulator: EmulatorServer, tmp_path: Path
) -> None:
    make_key(settings_for(tmp_path, emulator))
    with gateway_in(tmp_path, emulator) as gateway:
        assert gateway.edit().status_code == 200
        gateway.stop()
    shutil.rmtree(tmp_path / "cache")
    with gateway_in(tmp_path, emulator) as gateway:
        outcomes = [gateway.edit().headers["x-gateway-cache"] for _ in range(2)]
        gateway.stop()
    assert outcomes == ["MISS", "HIT"]
    assert terminal.spent_usd() == bill_of(emulator) == Decimal("0.02")


def test_a_runaway_is_stopped_found_and_capped(
    terminal: Terminal, emulator: EmulatorServer, tmp_path: Path
) -> None:
    make_key(settings_for(tmp_path, emulator), name="website")
    with gateway_in(tmp_path, emulator) as gateway:
        assert gateway.edit("bought before").status_code == 200
        terminal.type_block("gateway pause --team design")
        until(lambda: gateway.edit("bought before").status_code == 401)  # within a second
    assert emulator.stats()["billed_calls"] == 1


def test_a_state_and_results_move_from_one_machine_to_many(
    terminal: Terminal, emulator: EmulatorServer, postgres_url: str, tmp_path: Path
) -> None:
    first, second = tmp_path, tmp_path / "second"
    make_key(settings_for(first, emulator))
    with gateway_in(first, emulator) as gateway:
        assert gateway.edit("of one machine").status_code == 200
        gateway.stop()
    url = fresh_schema(postgres_url)
    terminal.type_block("gateway state backup gateway.backup", exported=url)

    with s3_server() as s3:
        bucket = url_of(s3, make_bucket(s3))

        def on(folder: Path) -> GatewayProcess:
            cache = {"url": bucket, "local_folder": str(folder / "cache")}
            return gateway_in(folder, emulator, {"state": {"url": url}, "cache": cache})

        with on(first) as one, on(second) as other:
            assert one.edit("of one machine").headers["x-gateway-cache"] == "HIT"
            assert one.edit("of many").headers["x-gateway-cache"] == "MISS"
            assert other.edit("of many").headers["x-gateway-cache"] == "HIT"
    assert terminal.spent_usd() == bill_of(emulator) == Decimal("0.02")
