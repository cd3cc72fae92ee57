"""What the holder of a new key copies: programs with the base URL and the secret filled in."""

from __future__ import annotations

import click

from gateway.accounts.tables.keys import NewKey
from gateway.cli.state_access import read_state
from gateway.database.database import Transaction
from gateway.database.documents import read_document
from gateway.queries.rules.snippets import snippets
from gateway.settings import Settings
from gateway.upstream.rules.catalogue_parser import parse

MODEL = "MODEL"


def print_snippets(settings: Settings, made: NewKey) -> None:
    """Print them on stderr, so that what reads stdout gets the secret alone."""
    allowed = made.key.account.settings.limits.models
    model = min(allowed, default=MODEL) if allowed is not None else _first_model(settings)
    for each in snippets(settings.server.base_url, made.secret, model):
        click.echo(f"\n{each.title}:\n\n{each.text}", err=True)


def _first_model(settings: Settings) -> str:
    """A model that edits: of the settings' own list, or of the catalogue as last stored."""
    for upstream in settings.every_upstream.values():
        if upstream.models:
            return upstream.models[0]

    async def read(tx: Transaction) -> str:
        for name in settings.every_upstream:
            if found := await read_document(tx, f"catalogue:{name}"):
                facts = parse(found.body.encode()).facts.values()
                return next((each.id for each in facts if each.edit_supported), MODEL)
        return MODEL

    return read_state(settings, read)
