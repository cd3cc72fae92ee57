"""The commands of the pages in docs/: each is run as printed, in the order printed."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.accounts.tables import grants
from gateway.cli import main
from gateway.database.database import Transaction
from gateway.settings import load
from tests.cli.test_ledger import Fill, fill, state
from tests.support.documents import DOCS
from tests.support.funds import Till
from tests.support.serving import PHOTOGRAPH, author, in_state

__all__ = ["fill", "state"]

MONTH, MONTH_MS = "2025-06", 1_750_000_000_000
"""A month that is over; the pages speak of 2026-11."""
ROOT = Path.cwd()
Gateway = Callable[[str], Result]


def commands_of(page: str) -> Iterator[str]:
    """Each `gateway …` of the code blocks, without comments and what its output is piped into."""
    text = (ROOT / DOCS / page).read_text(encoding="utf-8")
    for block in re.findall(r"^```(?:sh)?\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("gateway "):
                yield re.split(r" +[#|>]", line)[0].removeprefix("gateway ")


@pytest.fixture
def gateway(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """`gateway …` on a state with two teams, in a folder with the files that the pages name."""
    monkeypatch.setenv("GATEWAY_STATE__URL", f"sqlite:{state}")
    monkeypatch.setenv("GATEWAY_CACHE__URL", f"disk:{tmp_path / 'results'}")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    shutil.copy(ROOT / "config/organisation.example.toml", "config")
    Path("face.png").write_bytes(PHOTOGRAPH)

    def run(line: str) -> Result:
        done = CliRunner().invoke(main, shlex.split(line))
        assert done.exit_code == 0, f"gateway {line}\n{done.output}"
        return done

    run("init")
    return run


def test_the_commands_of_a_team_lead(gateway: Gateway) -> None:
    gateway("teams create trial --budget-usd 1")
    gateway("keys create --team trial --name spike")
    commands = [*commands_of("team-leads.md")]
    assert len(commands) > 30
    for line in commands:
        gateway(_granting(line))


def test_the_commands_of_limits(gateway: Gateway) -> None:
    for line in ("organisation update --budget-usd 900", "teams create design --budget-usd 50"):
        gateway(line)
    commands = [*commands_of("limits.md")]
    assert len(commands) == 6
    for line in commands:
        gateway(_granting(line))


def _granting(line: str) -> str:
    """The command with a day that is to come, and the id of a request or grant that is there."""
    line = re.sub(r"--until \S+", f"--until {datetime.now(UTC).date()}", line)
    if "grt_" not in line:
        return line
    if "--request" in line or "--reason" not in line:
        return re.sub(r"grt_\S+", _asked(), line)
    (found, *_) = json.loads(
        CliRunner().invoke(main, ["budgets", "list", "--grants", "--json"]).stdout
    )
    return re.sub(r"grt_\S+", found["id"], line)


def _asked() -> str:
    """The id of a request for money, by the holder of a key."""

    async def ask(tx: Transaction) -> str:
        return (await grants.ask(tx, "design", 20 * 10**9, None, author(), UTC)).id

    return in_state(load(None), ask)


def test_the_commands_that_close_a_month(gateway: Gateway, fill: Fill) -> None:
    fill(_one_call)
    at = datetime.fromtimestamp(MONTH_MS / 1000, UTC).isoformat()
    Path("statement.csv").write_text(f"request_id,time,cost_usd\nup-a,{at},0.02\n")
    shown, batch = "", ""
    commands = [*commands_of("finance.md")]
    assert len(commands) > 12
    for line in commands:
        line = line.replace("2026-11", MONTH)
        if "PREVIEW_ID" in line:
            (preview,) = set(re.findall(r"--confirm (\S+)", shown))
            line = line.replace("PREVIEW_ID", preview)
        shown = gateway(line.replace("BATCH", batch)).output
        if line == "ledger undo --list":
            batch = shown.splitlines()[-1].split("\t")[0]
    assert Path(f"chargeback-{MONTH}.csv").is_file()


async def _one_call(till: Till) -> None:
    await till.reserve("a", at=MONTH_MS)
    await till.settle("a", at=MONTH_MS)


def test_the_commands_of_the_command_line_s_page(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("GATEWAY_STATE__URL", "GATEWAY_CACHE__URL"):
        monkeypatch.delenv(variable)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    commands = [*commands_of("commands.md")]
    assert len(commands) == 5
    for line in commands:
        gateway(line)
    assert 'api_key = "env:OPENAI_API_KEY"' in Path("config/gateway.toml").read_text()
