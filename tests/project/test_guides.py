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
from tests.deploy.test_guide import command_of, commands
from tests.support.documents import DOCS
from tests.support.funds import Till
from tests.support.mail_server import MailServer, receiving_mail
from tests.support.serving import PHOTOGRAPH, author, in_state

__all__ = ["fill", "state"]

MONTH, MONTH_MS = "2025-06", 1_750_000_000_000
"""A month that is over; the pages speak of 2026-11."""
ROOT = Path.cwd()
Gateway = Callable[[str], Result]


def commands_of(page: Path) -> Iterator[str]:
    """Each `gateway …` of the code blocks, without comments and what its output is piped into."""
    text = (ROOT / page).read_text(encoding="utf-8")
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
        done = CliRunner().invoke(main, shlex.split(line), input="y\n")
        assert done.exit_code == 0, f"gateway {line}\n{done.output}"
        return done

    run("init")
    return run


RUN = {"commands.md", "end-users.md", "finance.md", "limits.md", "sandbox.md", "team-leads.md"}
PAGES = sorted(DOCS.glob("**/*.md"))


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_command_that_a_page_names_is_there_and_takes_its_flags(page: Path) -> None:
    for words in commands(page):
        command, arguments = command_of(words)
        known = {option for each in command.params for option in each.opts} | {"--help"}
        for argument in arguments:
            assert not argument.startswith("-") or argument.partition("=")[0] in known, words


def test_every_page_with_commands_is_run() -> None:
    assert {page.name for page in PAGES if [*commands_of(page)]} == RUN


def test_the_commands_of_end_users_and_the_sandbox(gateway: Gateway) -> None:
    gateway("teams create design --budget-usd 50")
    gateway("keys create --team design --name figma")
    for page in ("end-users.md", "sandbox.md"):
        for line in commands_of(DOCS / page):
            gateway(line)


def test_the_commands_of_a_team_lead(gateway: Gateway) -> None:
    gateway("teams create trial --budget-usd 1")
    gateway("keys create --team trial --name spike")
    commands = [*commands_of(DOCS / "team-leads.md")]
    assert len(commands) > 30
    for line in commands:
        gateway(_granting(line))


def test_the_commands_of_limits(gateway: Gateway) -> None:
    for line in ("organisation update --budget-usd 900", "teams create design --budget-usd 50"):
        gateway(line)
    commands = [*commands_of(DOCS / "limits.md")]
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


@pytest.fixture
def mail(monkeypatch: pytest.MonkeyPatch) -> Iterator[MailServer]:
    """A mail server for reports, which the settings name."""
    with receiving_mail() as server:
        monkeypatch.setenv("GATEWAY_REPORTS__SMTP_URL", server.url())
        monkeypatch.setenv("GATEWAY_REPORTS__TO", "me@example.com")
        yield server


def test_the_commands_that_close_a_month(gateway: Gateway, fill: Fill, mail: MailServer) -> None:
    fill(_one_call)
    at = datetime.fromtimestamp(MONTH_MS / 1000, UTC).isoformat()
    Path("statement.csv").write_text(f"request_id,time,cost_usd\nup-a,{at},0.02\n")
    shown, batch = "", ""
    commands = [*commands_of(DOCS / "finance.md")]
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
    assert mail.subjects("me@example.com")


async def _one_call(till: Till) -> None:
    await till.reserve("a", at=MONTH_MS)
    await till.settle("a", at=MONTH_MS)


def test_the_commands_of_the_command_line_s_page(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("GATEWAY_STATE__URL", "GATEWAY_CACHE__URL"):
        monkeypatch.delenv(variable)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    commands = [*commands_of(DOCS / "commands.md")]
    assert len(commands) == 5
    for line in commands:
        gateway(line)
    assert 'api_key = "env:OPENAI_API_KEY"' in Path("config/gateway.toml").read_text()
