"""A fresh machine with the README: each command is typed as printed, in the order printed."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import site
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.project.terminal import FAILED, Terminal

README = Path("README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(sh|python)\n# (.*?)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
PORTS = (8080, 8081)
SERVERS: Mapping[str, str] = {
    "make run": "http://127.0.0.1:8080/healthz",
    ".venv/bin/gateway emulate": "http://127.0.0.1:8081/emulator/stats",
}
"""Blocks that run until Ctrl-C, and where each answers once it is up."""


@dataclass
class Walk:
    """A reader who goes through the README from its beginning."""

    checkout: Path
    inside: Sequence[str]
    stack: ExitStack
    terminals: dict[str, Terminal] = field(default_factory=dict)
    serving: set[str] = field(default_factory=set)
    shown: list[str] = field(default_factory=list)
    """What each block showed, in the order of the README."""

    def read(self, language: str, head: str, text: str) -> None:
        """Do what one block says: `head` is its terminal, or the name of the file."""
        if language == "python":
            (self.checkout / head).write_text(f"# {head}\n{text}")
            return
        terminal = self._terminal(head)
        if head in self.serving:
            terminal.interrupt()
            self.serving.remove(head)
        url = SERVERS.get(text.strip())
        if url is None:
            self.shown.append(terminal.type(text))
        else:
            terminal.start(text)
            self.serving.add(head)
            self.shown.append(self._until_up(url))

    def _terminal(self, name: str) -> Terminal:
        if name not in self.terminals:
            opened = Terminal(self.checkout, _fresh_environment(self.checkout), self.inside)
            self.stack.callback(opened.close)
            self.terminals[name] = opened
        return self.terminals[name]

    def _until_up(self, url: str) -> str:
        tried = ["curl", "-sf", "--retry", "90", "--retry-delay", "1", "--retry-connrefused", url]
        done = subprocess.run([*self.inside, *tried], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{url} does not answer"
        return done.stdout


def _fresh_environment(checkout: Path) -> dict[str, str]:
    """Nothing of this machine's settings: a reader has none."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TZ") if name in os.environ}
    return {**kept, "HOME": str(checkout), "TERM": "dumb", "PIP_NO_INDEX": "1"}


@contextmanager
def _network() -> Iterator[Sequence[str]]:
    """A network of its own, in which the README's ports are free; else this machine's."""
    holder = subprocess.Popen(
        ["unshare", "--map-root-user", "--net", "sh", "-c",
         "ip link set lo up && echo up && exec sleep infinity"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert holder.stdout is not None
    try:
        if holder.stdout.readline():
            target = ["--target", str(holder.pid), "--user", "--preserve-credentials", "--net"]
            yield ["nsenter", *target]
        elif all(map(_is_free, PORTS)):
            yield []
        else:
            pytest.skip(f"no network namespaces here, and one of the ports {PORTS} is taken")
    finally:
        holder.kill()
        holder.communicate()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _checkout(folder: Path) -> Path:
    """A copy of the checkout in which `make run` finds everything installed, from here."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy2(name, folder)
    for name in ("gateway", "config"):
        shutil.copytree(name, folder / name)
    without = ["--without-pip"] if find_spec("pip") else []  # that of here is there too
    make = [sys.executable, "-m", "venv", *without, str(folder / ".venv")]
    subprocess.run(make, check=True, timeout=120)
    (packages,) = (folder / ".venv").glob("lib/python*/site-packages")
    here = "".join(f"import site; site.addsitedir({path!r})\n" for path in site.getsitepackages())
    (packages / "here.pth").write_text(f"{folder}\n{here}")
    command = folder / ".venv/bin/gateway"
    command.write_text(f"#!{folder}/.venv/bin/python\nfrom gateway.cli import main\nmain()\n")
    command.chmod(0o755)
    for mark in (".python", ".run", ".test"):
        (folder / ".venv" / mark).touch()
    return folder


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    """The whole README, gone through once."""
    with _network() as inside, ExitStack() as stack:
        walk = Walk(_checkout(tmp_path_factory.mktemp("checkout")), inside, stack)
        for block in BLOCKS:
            walk.read(*block)
        yield walk


def shown_by(walk: Walk, command: str) -> str:
    """What the block with this command showed."""
    blocks = [text for language, _, text in BLOCKS if language == "sh"]
    return next(
        shown for text, shown in zip(blocks, walk.shown, strict=True) if command in text
    ).lower()


def test_every_block_says_in_which_terminal_it_is_typed_or_what_file_it_is() -> None:
    assert len(BLOCKS) == README.count("```") / 2
    for language, head, _ in BLOCKS:
        assert re.fullmatch(r"terminal \d" if language == "sh" else r"\w+\.py", head)


def test_every_command_of_the_readme_succeeds(walk: Walk) -> None:
    assert [shown for shown in walk.shown if FAILED in shown or "Traceback" in shown] == []


def test_the_demo_s_first_edit_is_bought_and_the_second_is_a_hit_that_costs_nothing(
    walk: Walk,
) -> None:
    shown = shown_by(walk, "'Authorization: Bearer sk-demo'")

    assert re.findall(r"^x-gateway-cache: (.*)$", shown, re.M) == ["miss", "hit"]
    assert re.findall(r"^x-gateway-cost-usd: (.*)$", shown, re.M) == ["0.01", "0"]
    assert json.loads(shown.splitlines()[-1])["billed_calls"] == 1


def test_the_program_of_the_readme_edits_a_picture(walk: Walk) -> None:
    assert (
        (walk.checkout / "edited.png").read_bytes().startswith((b"\x89PNG", b"\xff\xd8", b"RIFF"))
    )


def test_the_organisation_s_own_key_buys_an_edit_that_the_ledger_proves(walk: Walk) -> None:
    assert "x-gateway-cache: miss" in shown_by(walk, "Bearer $KEY")
    assert '"status": "ready"' in shown_by(walk, "gateway serve")
    assert "1 ledger rows: $0.01 spent" in shown_by(walk, "gateway ledger verify")


def free_port() -> int:
    """A port that nobody has, and that no outgoing connection is given until it is taken."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("a hundred ports are taken")


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """`gateway demo` in a folder of its own: its address, and what it printed."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "demo", "--emulator-port", str(free_port()),
         "--latency-seconds", "0.05"],
        cwd=tmp_path, env={**os.environ, "GATEWAY_SERVER__PORT": str(port)},
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    printed = ""
    for line in process.stderr:
        printed += line
        if "Ctrl-C" in line:
            break
    yield f"127.0.0.1:{port}", printed
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=20)
    assert process.returncode in (0, -signal.SIGINT), rest
    assert "Traceback" not in rest[1]


def test_the_demo_prints_a_curl_that_can_be_pasted(demo: tuple[str, str]) -> None:
    gateway, printed = demo
    found = re.search(r"(    curl .*?)\n\n", printed, re.DOTALL)
    assert found
    photograph = re.search(r"@(\S+)'", found[1])
    assert photograph
    command = found[1].replace(photograph[1], str(Path("gateway/emulator/sample.jpg").absolute()))
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr
    assert "x-gateway-cache:" in done.stdout.lower()
    assert gateway in command
