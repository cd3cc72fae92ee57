"""`gateway completion`, and the names that a shell completes: of the settings and of the state."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem, get_completion_class

if TYPE_CHECKING:
    from gateway.database.database import Operation
    from gateway.settings import Settings

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

_VARIABLE = "_GATEWAY_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell. It completes names of teams, keys and models too.

    \b
    bash: gateway completion bash > ~/.local/share/bash-completion/completions/gateway
    zsh:  gateway completion zsh > DIR/_gateway, with DIR in fpath before compinit
    fish: gateway completion fish > ~/.config/fish/completions/gateway.fish
    """
    script = get_completion_class(shell)
    assert script is not None  # noqa: S101
    root = click.get_current_context().find_root().command
    click.echo(script(root, {}, "gateway", _VARIABLE).source())


def of_settings(names: Callable[[Settings], Iterable[str]]) -> Complete:
    """A completion by names that follow from the settings; without valid settings by none."""

    def complete(
        context: click.Context, _option: click.Parameter, beginning: str
    ) -> list[CompletionItem]:
        from gateway.cli.state_access import settings_of

        try:
            given = context.params.get("settings")
            found = names(given or settings_of(context.params.get("config")))
        except click.ClickException:
            return []
        return [CompletionItem(name) for name in sorted(set(found)) if name.startswith(beginning)]

    return complete


def each_of(names: Collection[str]) -> Complete:
    """A completion by some of these names, separated by commas."""

    def complete(
        _context: click.Context, _option: click.Parameter, beginning: str
    ) -> list[CompletionItem]:
        before, comma, last = beginning.rpartition(",")
        fitting = sorted(name for name in names if name.startswith(last))
        return [CompletionItem(f"{before}{comma}{name}") for name in fitting]

    return complete


def _read(settings: Settings, operation: Operation[Any]) -> Any:
    """Read from a state that exists, in silence. Raises ClickException."""
    from gateway.cli.state_access import with_database

    with click.Context(click.Command("completion")) as context:
        context.meta["state was named"] = True
        return with_database(settings, lambda database: database.read(operation), any_schema=True)


def _teams(settings: Settings) -> Iterable[str]:
    from gateway.accounts.tables.teams import list_teams

    return [team.name for team in _read(settings, lambda tx: list_teams(tx, limit=_MOST))]


def _keys(settings: Settings) -> Iterable[str]:
    from gateway.accounts.tables.keys import list_keys

    keys = _read(settings, lambda tx: list_keys(tx, limit=_MOST))
    return [name for key in keys for name in (key.id, f"{key.team}/{key.name}")]


def _tokens(settings: Settings) -> Iterable[str]:
    from gateway.accounts.tables.tokens import list_tokens

    return [token.name for token in _read(settings, lambda tx: list_tokens(tx))]


def _models(settings: Settings) -> Iterable[str]:
    """Models of the settings and of the price table; no upstream is asked."""
    from gateway.cli.state_access import prices_of

    aliases = (alias for model in settings.models.values() for alias in model.aliases)
    deployments = (name for each in settings.every_upstream.values() for name in each.models)
    return [*settings.models, *aliases, *deployments, *prices_of(settings).table.prices]


_MOST = 10_000
TEAMS, KEYS, TOKENS = of_settings(_teams), of_settings(_keys), of_settings(_tokens)
MODELS = of_settings(_models)
UPSTREAMS = of_settings(lambda settings: settings.every_upstream)
ROLES = of_settings(lambda settings: ["admin", "finance", *(f"team:{t}" for t in _teams(settings))])
ACCOUNTS = of_settings(
    lambda settings: [
        "organisation",
        *_teams(settings),
        *(name for name in _keys(settings) if "/" in name),
    ]
)
SUBJECTS = of_settings(
    lambda settings: [
        "organisation",
        *(f"team:{name}" for name in _teams(settings)),
        *(f"key:{name}" for name in _keys(settings) if "/" not in name),
    ]
)
