"""The command `gateway`."""

from __future__ import annotations

from importlib import import_module

import click

from gateway.cli.apply import apply
from gateway.cli.audit import audit
from gateway.cli.cache import cache
from gateway.cli.check import check
from gateway.cli.keys import keys
from gateway.cli.ledger import ledger
from gateway.cli.ledger_close import close
from gateway.cli.ledger_export import export
from gateway.cli.ledger_reconcile import reconcile
from gateway.cli.ledger_resolve import resolve_ledger
from gateway.cli.organisation import organisation, pause, resume
from gateway.cli.serve import serve
from gateway.cli.state import state
from gateway.cli.teams import teams
from gateway.cli.tokens import tokens
from gateway.cli.usage import usage
from gateway.server.allocator import keep_large_blocks

WITH_EMULATOR = ("demo", "emulate")


class _Commands(click.Group):
    """Imports the commands with the emulator when they are used: no other command needs it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *WITH_EMULATOR])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in WITH_EMULATOR:
            return super().get_command(ctx, cmd_name)
        command = getattr(import_module(f"gateway.cli.{cmd_name}"), cmd_name)
        return command if isinstance(command, click.Command) else None


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="image-edit-gateway", prog_name="gateway")
def main() -> None:
    """A shared endpoint for image edits: cached, budgeted, accounted for."""
    keep_large_blocks()  # before any thread starts: `serve` reads the state first


for command in (
    serve, check,
    organisation, teams, keys, tokens, pause, resume, audit, apply,
    usage, ledger, cache, state,
):  # fmt: skip
    main.add_command(command)

for command in (resolve_ledger, reconcile, close, export):
    ledger.add_command(command)
