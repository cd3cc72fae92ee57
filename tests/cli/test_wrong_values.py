"""Each option and argument of each command, as click lists them, refuses a wrong value."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from gateway.cli import main

TEXTS = {
    "after", "by", "fingerprint", "key", "model", "models", "name", "owner", "cost_centre",
    "request_id", "grant_id", "subject", "team", "token", "accepted", "host", "output", "cost",
    "upstream", "quality", "size", "user",
}  # fmt: skip
"""Options that take any line of text: it may name something that there is not."""
FILES = {"state backup": "/no/such/folder/file", "state restore": "/no/such/file"}
REQUIRED = {
    "team": "design", "role": "finance", "cost_usd": "1", "request_id": "r", "key": "design/web",
    "token": "t", "name": "name", "period": "2026-01",
}  # fmt: skip
RUBBISH = ("rubbish!", "-1", "nan", "1e999", "9" * 30, "2026-13-45", "\u0664")


def commands(
    group: click.Group, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        elif command:
            yield (*path, name), command


Case = tuple[tuple[str, ...], click.Command, click.Parameter]
CASES: list[Case] = [
    (path, command, parameter)
    for path, command in commands(main)
    for parameter in command.params
    if not (isinstance(parameter, click.Option) and parameter.is_flag)
]


def each_of(cases: list[Case]) -> pytest.MarkDecorator:
    named = [pytest.param(*case, id=f"{' '.join(case[0])} {case[2].name}") for case in cases]
    return pytest.mark.parametrize(("path", "command", "parameter"), named)


@pytest.fixture(autouse=True, scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with contextlib.chdir(tmp_path_factory.mktemp("state")):
        Path("file.toml").write_text("")
        create_state()
        yield


def create_state() -> None:
    for arguments in (
        ["init"],
        ["teams", "create", "design", "--budget-usd", "1"],
        ["keys", "create", "--team", "design", "--name", "web"],
    ):
        assert CliRunner().invoke(main, arguments).exit_code == 0


def given(
    path: tuple[str, ...], command: click.Command, wrong: click.Parameter, value: str
) -> Result:
    """Run the command with a right value for what it requires, and this one."""
    arguments, options = [], []
    for each in command.params:
        if each is wrong or each.required:
            right = REQUIRED.get(each.name or "", "file.toml")
            if each.name == "name" and path == ("teams", "update"):
                right = "design"
            text = value if each is wrong else right
            if isinstance(each, click.Option):
                options += [f"{each.opts[0]}={text}"]
            else:
                arguments.append(text)
    return CliRunner().invoke(main, [*path, *options, "--", *arguments])


@each_of(CASES)
def test_what_can_not_be_printed_is_refused_in_one_line(
    path: tuple[str, ...], command: click.Command, parameter: click.Parameter
) -> None:
    refused = given(path, command, parameter, "line\n\x1b[2J\udcff")
    assert refused.exit_code == 2, refused.output
    assert refused.stderr.startswith("Error: ")
    assert refused.stderr.count("\n") == 1


@each_of([case for case in CASES if case[2].name not in TEXTS])
def test_rubbish_is_refused_in_one_line_with_status_2(
    path: tuple[str, ...], command: click.Command, parameter: click.Parameter
) -> None:
    value = FILES.get(" ".join(path), RUBBISH[0])
    refused = given(path, command, parameter, value)
    assert refused.exit_code == 2, refused.output
    errors = [line for line in refused.stderr.splitlines() if not line.startswith("State: ")]
    assert len(errors) == 1
    assert errors[0].startswith("Error: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["keys", "rotate", "design/web", "--grace", "9" * 20 + "d"],
        ["demo", "--emulator-port", "1", "--latency-seconds", "nan"],
    ],
)
def test_a_number_that_can_not_be_is_refused(arguments: list[str]) -> None:
    refused = CliRunner().invoke(main, arguments)
    assert refused.exit_code == 2, refused.output


def test_no_command_but_four_creates_a_state(tmp_path: Path) -> None:
    (tmp_path / "file.toml").touch()
    creators = {("serve",), ("demo",), ("init",), ("state", "restore"), ("emulate",)}
    with contextlib.chdir(tmp_path):
        for path, command in commands(main):
            if path not in creators:
                given(path, command, click.Argument(["none"]), "")
    assert [each.name for each in tmp_path.iterdir()] == ["file.toml"]


@pytest.mark.long
@each_of([case for case in CASES if case[0][0] not in ("serve", "demo", "emulate")])
def test_no_value_ends_in_a_traceback(
    path: tuple[str, ...], command: click.Command, parameter: click.Parameter
) -> None:
    for value in RUBBISH:
        done = given(path, command, parameter, value)
        assert isinstance(done.exception, SystemExit | None), (value, done.exception)
