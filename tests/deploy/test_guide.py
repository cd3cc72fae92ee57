"""deploy/README.md and its like: each command, setting and file that they name is there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from pydantic import BaseModel

from gateway.cli import main
from gateway.database.postgres import PostgresDatabase
from gateway.settings import Settings

GUIDES = [Path("deploy/README.md"), Path("deploy/RUNBOOK.md")]
GUIDE = GUIDES[0].read_text()
_BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
_TYPED = re.compile(r"^(?:.* (?:--|exec gateway) )?gateway ([a-z].*)$", re.MULTILINE)
_IN_TEXT = re.compile(r"`gateway ([a-z][^`]*)`")


def blocks_of(text: str) -> list[str]:
    """The shell blocks of a guide."""
    return [str(block) for block in _BLOCK.findall(text)]


def blocks(guide: Path) -> str:
    return "\n".join(blocks_of(guide.read_text())).replace("\\\n", " ")


def commands(guide: Path) -> Iterator[list[str]]:
    """The words of each `gateway …`, in code blocks and in the text, without comments."""
    in_text = _IN_TEXT.findall(_BLOCK.sub("", guide.read_text()))
    for found in [*_TYPED.findall(blocks(guide)), *in_text]:
        yield shlex.split(re.sub(r"\s+#.*", "", found).replace("…", ""))


def command_of(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that the words name, and its arguments. Raises KeyError for one not there."""
    command: click.Command = main
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words[0])
        if found is None:
            raise KeyError(words[0])
        command, words = found, words[1:]
    return command, words


@pytest.mark.parametrize("guide", GUIDES, ids=str)
def test_every_command_is_there_and_takes_the_flags_that_it_is_given(guide: Path) -> None:
    named = list(commands(guide))
    assert len(named) > 10
    for words in named:
        command, arguments = command_of(words)
        known = {option for each in command.params for option in each.opts}
        for argument in arguments:
            if argument.startswith("-"):
                assert argument.partition("=")[0] in known, words


def test_a_command_that_is_not_there_would_be_found() -> None:
    with pytest.raises(KeyError):
        command_of(["ledger", "burn"])


@pytest.mark.parametrize(
    "name",
    [
        "state backup", "state restore", "ledger verify", "ledger reconcile", "pause", "resume",
        "keys rotate", "keys revoke", "tokens create", "tokens revoke", "cache purge",
    ],
)  # fmt: skip
def test_the_guide_tells_the_command(name: str) -> None:
    wanted = name.split()
    assert any(words[: len(wanted)] == wanted for words in commands(GUIDES[0]))


@pytest.mark.parametrize("guide", GUIDES, ids=str)
def test_every_setting_that_is_named_is_one(guide: Path) -> None:
    text = " ".join(guide.read_text().split())
    for section, name in re.findall(r"`\[(\w+)\] (\w+)", text):
        assert name in _fields(section), f"[{section}] {name}"
    for section, name in re.findall(r"GATEWAY_([A-Z]+)__([A-Z_]+)", text):
        assert name.lower() in _fields(section.lower()), f"GATEWAY_{section}__{name}"


def _fields(section: str) -> set[str]:
    kind = Settings.model_fields[section].annotation
    assert isinstance(kind, type)
    assert issubclass(kind, BaseModel)
    return set(kind.model_fields)


@pytest.mark.parametrize("guide", GUIDES, ids=str)
def test_every_link_leads_somewhere(guide: Path) -> None:
    text = guide.read_text()
    anchors = {
        re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if path.startswith("http"):
            continue
        assert not path or (guide.parent / path).exists(), target
        if not path:
            assert anchor in anchors, target


def test_every_file_of_the_repository_that_a_command_takes_is_there() -> None:
    named = set(re.findall(r"(?<![\w/-])((?:deploy|config)/[\w./-]+)", blocks(GUIDES[0])))
    named.discard("deploy/gateway")  # a Deployment's name, to kubectl
    assert named
    for path in named:
        assert Path(path).exists() or "/overlays/ours" in path, path


def test_the_numbers_of_the_guide_are_those_of_the_settings_and_the_code() -> None:
    """What the arithmetic rests on; where one changes the guide has to."""
    defaults = PostgresDatabase.__init__.__kwdefaults__ or {}
    assert (
        f"| PostgreSQL connections | {defaults['writers'] + defaults['readers']} × processes"
        in (GUIDE)
    )
    settings = Settings()
    assert f"`[server] spool_bytes` ({settings.server.spool_bytes // 2**20} MiB)" in GUIDE
    assert f"`[server] max_connections` ({settings.server.max_connections:,})" in GUIDE
    assert f"`[upstream] max_connections`\n  ({settings.upstream.max_connections})" in GUIDE
    assert f"`[state] usage_days` ({settings.state.usage_days})" in GUIDE
