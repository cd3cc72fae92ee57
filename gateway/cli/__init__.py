"""The command `gateway`."""

from __future__ import annotations

import gc
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from types import MappingProxyType
from typing import Any

import click
from click.shell_completion import CompletionItem

from gateway.accounts.rules.field_types import CONTROL


class LazyCommands(click.Group):
    """A group that imports a command on its first use.

    `modules` names the module of each. A command in `summaries` is listed without being imported.
    """

    def __init__(
        self,
        *,
        modules: Mapping[str, str],
        summaries: Mapping[str, str] = MappingProxyType({}),
        **attributes: Any,
    ) -> None:
        super().__init__(**attributes)
        self._modules, self._summaries = modules, summaries

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*self._modules, *self.commands})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self._modules and cmd_name not in self.commands:
            gc.disable()  # what imports make stays: to look it through takes a tenth of a start
            module = import_module(f"gateway.cli.{self._modules[cmd_name]}")
            gc.enable()
            self.add_command(getattr(module, cmd_name))
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self._listing(ctx, "").format_commands(ctx, formatter)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        names = [
            CompletionItem(name, help=command.get_short_help_str())
            for name, command in self._listing(ctx, incomplete).commands.items()
        ]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def _listing(self, ctx: click.Context, beginning: str) -> click.Group:
        """The commands whose names begin so, each only with its summary."""
        listing = click.Group()
        for name in self.list_commands(ctx):
            if name.startswith(beginning):
                short = self._summaries.get(name)
                command = click.Command(name, help=short) if short else self.get_command(ctx, name)
                listing.add_command(command or click.Command(name), name)
        return listing


class _RootCommand(LazyCommands):
    """Reports a wrong value of any command in one line, with exit status 2."""

    def make_context(self, info_name: str | None, args: list[str], *more: Any, **extra: Any) -> Any:
        if wrong := next(filter(CONTROL.search, args), None):
            raise click.UsageError(f"{wrong!a} has a control character")
        with _in_one_line():
            return super().make_context(info_name, args, *more, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _in_one_line():
            return super().invoke(ctx)


@contextmanager
def _in_one_line() -> Iterator[None]:
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        text = " ".join(error.format_message().split())
        raise click.UsageError(_fitted(text)) from None  # without a context, no usage is printed
    except click.ClickException as error:
        raise click.ClickException(_fitted(error.format_message())) from None


def _fitted(text: str) -> str:
    """The text of an error in lines that fit the terminal, if it goes to one."""
    if not sys.stderr.isatty():
        return text
    fitting = textwrap.TextWrapper(
        shutil.get_terminal_size().columns, break_long_words=False, break_on_hyphens=False
    )
    beginning = "Error: "
    lines = [fitting.fill(line) for line in f"{beginning}{text}".splitlines()]
    return "\n".join(lines).removeprefix(beginning)


_COMMANDS = {
    "serve": ("serve", "Serve the gateway."),
    "demo": ("demo", "The gateway in front of the emulator, with a key and a state of its own."),
    "emulate": ("emulate", "Serve the emulator alone: a stand-in for the upstream."),
    "check": ("check", "Check settings, state, results and upstream."),
    "init": ("init", "Create the state, and on request a settings file, a team and a key."),
    "organisation": ("accounts", "Limits of the organisation, for all traffic."),
    "teams": ("accounts", "Teams and their limits."),
    "keys": ("accounts", "API keys of teams."),
    "tokens": ("accounts", "Admin tokens for /admin/v1, each with a role."),
    "pause": ("accounts", "Stop paid calls within a second; cache hits are still served."),
    "resume": ("accounts", "Allow paid calls again."),
    "audit": ("accounts", "List changes: author, time, old and new values, reason."),
    "apply": ("apply", "Make the organisation, its teams and their keys match a file."),
    "usage": ("usage", "Report requests, spending and savings."),
    "reports": ("reports", "Usage reports by mail and webhook: see one, or send it now."),
    "budgets": ("budgets", "Budgets of all accounts, and grants of money to one."),
    "ledger": ("ledger", "The ledger: every upstream call and its cost."),
    "users": ("users", "End users: what is kept of a person, and forgetting one."),
    "prices": ("prices", "The prices of models."),
    "cache": ("cache", "Stored results: statistics, deletion, verification."),
    "state": ("state", "Backup, restore, migrate, and move the state to another database."),
    "completion": ("completion", "Print the completion script of a shell."),
}
"""The module of each command, and its line in the list of commands."""


@click.group(
    cls=_RootCommand,
    modules={name: module for name, (module, _) in _COMMANDS.items()},
    summaries={name: summary for name, (_, summary) in _COMMANDS.items()},
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="image-edit-gateway", prog_name="gateway")
def main() -> None:
    """A shared endpoint for image edits: cached, budgeted, accounted for."""
