"""`python -m tests.cli.pictures`: docs/commands-*.svg, commands on a terminal beside a gateway."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME
from rich.text import Text

from gateway.emulator import EmulatorServer
from tests.support.serving import GatewayProcess, tables_of

DOCS = Path("docs")
WIDTH = 100
GATEWAY = Path(sys.executable).with_name("gateway").absolute()
PICTURES = {"teams": "teams list --archived", "usage": "usage --by team", "check": "check"}
TEAMS = """\
teams create design --budget-usd 50 --owner Ada --cost-centre CC-110
teams create marketing --budget-usd 12.5 --owner Grace --cost-centre CC-120 --models deepshi-image-1
teams create research --unlimited --cost-centre CC-130
teams create trial --budget-usd 1
teams archive trial
"""


def run(arguments: str, folder: Path) -> str:
    command = [str(GATEWAY), *arguments.split()]
    return subprocess.check_output(command, cwd=folder, env=_environment(folder), text=True)


def on_a_terminal(arguments: str, folder: Path, width: int = WIDTH) -> str:
    """What the command prints on a terminal of this width, with its colours."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    process = subprocess.Popen(
        [GATEWAY, *arguments.split()], cwd=folder, env=_environment(folder), stdin=follower,
        stdout=follower, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    os.close(follower)
    shown = b""
    with open(leader, "rb", buffering=0) as terminal:
        while chunk := _read(terminal.fileno()):
            shown += chunk
    process.wait()
    return shown.decode().replace("\r", "").replace(str(folder), "/srv/gateway")


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except OSError:  # the command has ended
        return b""


def _environment(folder: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "TERM": "xterm-256color",
            "GATEWAY_CONFIG": "gateway.toml"}  # fmt: skip


def draw(arguments: str, folder: Path, path: Path) -> None:
    """Draw the command and what it prints."""
    console = Console(record=True, width=WIDTH, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(Text.from_ansi(f"$ gateway {arguments}\n{on_a_terminal(arguments, folder)}"))
    path.write_text(console.export_svg(title="gateway", theme=DEFAULT_TERMINAL_THEME))


def main() -> None:
    with tempfile.TemporaryDirectory() as name, EmulatorServer() as emulator:
        folder = Path(name)
        tables = tables_of(Path("var"), emulator, {"state": {"url": "sqlite:var/gateway.db"}})
        os.chdir(folder)
        with GatewayProcess(tables, folder, anew=True) as gateway:
            for line in TEAMS.splitlines():
                run(line, folder)
            for team, prompts in {"design": "grey red grey", "marketing": "red blue"}.items():
                made = run(f"keys create --team {team} --name web", folder).split()
                for prompt in prompts.split():
                    gateway.edit(f"make it {prompt}", key=made[1])
            run("pause --team marketing", folder)
            gateway.edit("make it green", key=made[1])
            for picture, arguments in PICTURES.items():
                draw(arguments, folder, ROOT / DOCS / f"commands-{picture}.svg")


ROOT = Path.cwd()

if __name__ == "__main__":
    main()
