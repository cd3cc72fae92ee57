"""The command `gateway`."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click

from gateway.accounts.rules.field_types import CONTROL


class LazyCommands(click.Group):
    """A group that imports a command on its first use. `modules` names the module of each."""

    def __init__(self, *, modules: Mapping[str, str], **attributes: Any) -> None:
        super().__init__(**attributes)
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*self._modules, *self.commands})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self._modules and cmd_name not in self.commands:
            gc.disable()  # what imports make stays: to look it through takes a tenth of a start
            module = import_module(f"gateway.cli.{self._modules[cmd_name]}")
            gc.enable()
            self.add_command(getattr(module, cmd_name))
        return super().get_command(ctx, cmd_name)


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
    except click.UsageError as error:
        if not isinstance(error, click.exceptions.NoArgsIsHelpError):
            text = " ".join(error.format_message().split())
            raise click.UsageError(text) from None  # without a context, no usage is printed
        raise


_MODULES = {
    "serve": "serve", "demo": "demo", "emulate": "emulate", "check": "check",
    "organisation": "accounts", "teams": "accounts", "keys": "accounts", "tokens": "accounts",
    "pause": "accounts", "resume": "accounts", "audit": "accounts", "apply": "apply",
    "usage": "usage", "ledger": "ledger", "cache": "cache", "state": "state", "init": "state",
    "prices": "prices", "budgets": "budgets",
}  # fmt: skip


@click.group(
    cls=_RootCommand,
    modules=_MODULES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="image-edit-gateway", prog_name="gateway")
def main() -> None:
    """A shared endpoint for image edits: cached, budgeted, accounted for."""
