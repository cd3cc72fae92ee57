"""The command `gateway`."""

from __future__ import annotations

import click

from gateway.cli.apply import apply
from gateway.cli.audit import audit
from gateway.cli.cache import cache
from gateway.cli.check import check
from gateway.cli.demo import demo
from gateway.cli.emulate import emulate
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


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="image-edit-gateway", prog_name="gateway")
def main() -> None:
    """A shared endpoint for image edits: cached, budgeted, accounted for."""
    keep_large_blocks()  # before any thread starts: `serve` reads the state first


for command in (
    serve, demo, emulate, check,
    organisation, teams, keys, tokens, pause, resume, audit, apply,
    usage, ledger, cache, state,
):  # fmt: skip
    main.add_command(command)

for command in (resolve_ledger, reconcile, close, export):
    ledger.add_command(command)
