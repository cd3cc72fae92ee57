"""`gateway init`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import click

from gateway.accounts.rules.account_settings import AccountSettings, change_settings
from gateway.accounts.tables import keys, teams
from gateway.cli.settings_file import (
    RESOURCE,
    TEMPLATES,
    NewModel,
    NewUpstream,
    text_of,
)
from gateway.cli.state_access import (
    author,
    change_state,
    create_state,
    settings_of,
    state_exists,
    state_name,
    with_database,
)
from gateway.database.database import Database, Transaction
from gateway.model.money import nanos_of
from gateway.model.suggestions import did_you_mean
from gateway.settings import DEFAULT_FILE, Settings, SettingsError, is_configured, load

NEW_FILE = Path("gateway.toml")
"""Where the usual file exists already."""


@click.command()
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Settings file: one that exists, or the one to write (default: the usual one).",
)
@click.option(
    "--upstream",
    "upstreams",
    multiple=True,
    metavar="[NAME=]KIND",
    help=f"Write a settings file with this upstream: {', '.join(TEMPLATES)}. Repeatable.",
)
@click.option(
    "--base-url",
    "base_urls",
    multiple=True,
    metavar="UPSTREAM=URL",
    help="Where an upstream is, if not at its usual address. Azure needs it.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="MODEL=UPSTREAM/NAME[,…]",
    help="Where a model is bought, in order. Names at azure are its deployments. Repeatable.",
)
@click.option(
    "--equivalent",
    multiple=True,
    metavar="MODEL",
    help="A result of one target of this model is a hit for all of them.",
)
@click.option("--team", help="First team.")
@click.option("--budget-usd", default="50", show_default=True, help="Its budget for a month.")
@click.option("--key", default="first", show_default=True, help="Name of its first key.")
def init(
    config: Path | None,
    upstreams: Sequence[str],
    base_urls: Sequence[str],
    models: Sequence[str],
    equivalent: Sequence[str],
    team: str | None,
    budget_usd: str,
    key: str,
) -> None:
    """Create the state, and on request a settings file, a team and a key. Safe to run again.

    On a terminal where nothing is configured yet, it asks for what to write. With --upstream it
    writes without asking; otherwise only the database of [state] url is created, or brought to this
    version's schema.
    """
    file = None
    if config and not config.exists() and not upstreams:
        raise click.UsageError(f"there is no {config}: --upstream writes one")
    _check_budget(budget_usd)
    if upstreams:
        chosen = _given_upstreams(upstreams, _pairs(base_urls, "--base-url"))
        chosen, bought = _given_models(chosen, _pairs(models, "--model"), equivalent)
        file = _write(_target(config), chosen, bought)
    elif models or base_urls or equivalent:
        raise click.UsageError("--base-url, --model and --equivalent need --upstream")
    elif _may_ask(config):
        chosen = _asked_upstreams()
        chosen, bought = _asked_models(chosen)
        team = click.prompt("Name of the first team", "design")
        budget_usd = click.prompt("Its budget for a month, in dollars", budget_usd)
        _check_budget(budget_usd)
        file = _write(_target(config), chosen, bought)
    settings = settings_of(file or config)
    version = create_state(settings)
    click.echo(f"{state_name(settings)} is ready (schema {version}).")
    secret = _make_team(settings, team, budget_usd, key) if team else None
    if file:
        _print_next(settings, file, chosen, bought, secret)


def _check_budget(budget_usd: str) -> None:
    """Before anything is written."""
    if nanos_of(budget_usd) is None:
        raise click.UsageError("--budget-usd: give an amount in dollars, such as 50")


# --- by flags -------------------------------------------------------------------------


def _pairs(given: Iterable[str], option: str) -> Mapping[str, str]:
    pairs = [text.partition("=") for text in given]
    if wrong := [name for name, _, value in pairs if not name or not value]:
        raise click.BadParameter(f"write NAME=VALUE, not {wrong[0]!r}", param_hint=option)
    return {name: value for name, _, value in pairs}


def _given_upstreams(given: Sequence[str], base_urls: Mapping[str, str]) -> list[NewUpstream]:
    made = [_upstream(text, base_urls) for text in given]
    names = [upstream.name for upstream in made]
    for name in base_urls.keys() - set(names):
        hint = did_you_mean(name, names)
        raise click.BadParameter(f"no upstream {name!r}. {hint}", param_hint="--base-url")
    if len({*names}) < len(names):
        raise click.BadParameter("write NAME=KIND for a second one", param_hint="--upstream")
    return made


def _upstream(text: str, base_urls: Mapping[str, str]) -> NewUpstream:
    name, _, kind = text.rpartition("=")
    if kind not in TEMPLATES:
        hint = did_you_mean(kind, list(TEMPLATES))
        raise click.BadParameter(f"no kind {kind!r} of upstream. {hint}", param_hint="--upstream")
    upstream = NewUpstream(name or kind, TEMPLATES[kind], TEMPLATES[kind].address)
    base_url = base_urls.get(upstream.name, upstream.base_url)
    if RESOURCE in base_url:
        example = f"--base-url {upstream.name}={upstream.base_url}"
        raise click.UsageError(f"say where {upstream.name} is: {example}")
    return replace(upstream, base_url=base_url)


def _given_models(
    upstreams: Sequence[NewUpstream], given: Mapping[str, str], equivalent: Sequence[str]
) -> tuple[list[NewUpstream], list[NewModel]]:
    models = [
        NewModel(name, tuple(targets.split(",")), name in equivalent)
        for name, targets in given.items()
    ]
    if unknown := [name for name in equivalent if name not in given]:
        raise click.BadParameter(f"no --model {unknown[0]}=…", param_hint="--equivalent")
    return _with_deployments(upstreams, models), models


def _with_deployments(
    upstreams: Iterable[NewUpstream], models: Sequence[NewModel]
) -> list[NewUpstream]:
    """The upstreams, each deployment that is a target named where there is no list of them."""
    targets = [target.partition("/") for model in models for target in model.targets]
    return [
        replace(each, models=(*each.models, *(name for of, _, name in targets if of == each.name)))
        if each.template.has_deployments
        else each
        for each in upstreams
    ]


# --- by questions ---------------------------------------------------------------------


def _may_ask(config: Path | None) -> bool:
    """Is there somebody to ask, and nothing configured yet?"""
    if not sys.stdin.isatty() or config or is_configured():
        return False
    settings = settings_of(None)

    async def exists(database: Database) -> bool:
        return await state_exists(settings, database)

    if with_database(settings, exists, create=True):
        return False
    return click.confirm("Write a settings file for your upstreams?", default=True)


def _asked_upstreams() -> list[NewUpstream]:
    click.echo("Upstreams sell the edits:")
    for kind, template in TEMPLATES.items():
        click.echo(f"  {kind:<11} {template.title}")
    while True:
        given = click.prompt("Which, separated by commas", "deepshi")
        try:
            kinds = [part.strip() for part in given.split(",") if part.strip()]
            return [_upstream(kind, _asked_address(kind)) for kind in kinds]
        except click.UsageError as error:
            click.echo(error.format_message())


def _asked_address(text: str) -> Mapping[str, str]:
    name, _, kind = text.rpartition("=")
    template = TEMPLATES.get(kind)
    if not template or RESOURCE not in template.address:
        return {}
    said = click.prompt(f"{template.title}: {RESOURCE} in its address {template.address}")
    url = said if "://" in said else template.address.replace(RESOURCE, said)
    return {name or kind: url}


def _asked_models(
    upstreams: Sequence[NewUpstream],
) -> tuple[list[NewUpstream], list[NewModel]]:
    models = []
    while len(upstreams) > 1:
        model = click.prompt("A model that several of them sell (empty: no more)", "")
        if not model:
            break
        models.append(_asked_targets(model, upstreams))
    chosen = _with_deployments(upstreams, models)
    for number, upstream in enumerate(chosen):
        if upstream.template.has_deployments and not upstream.models:
            names = click.prompt(f"Deployments of {upstream.name}, separated by commas")
            listed = tuple(part.strip() for part in names.split(",") if part.strip())
            chosen[number] = replace(upstream, models=listed)
    return chosen, models


def _asked_targets(model: str, upstreams: Sequence[NewUpstream]) -> NewModel:
    targets = []
    for upstream in upstreams:
        usual = "" if upstream.template.has_deployments else f"{upstream.template.prefix}{model}"
        kind = "deployment" if upstream.template.has_deployments else "name"
        name = click.prompt(f"  its {kind} at {upstream.name} (-: not there)", usual or "-")
        if name != "-":
            targets.append(f"{upstream.name}/{name}")
    question = "  Are their results equivalent, so that a stored one is a hit for all?"
    equivalent = len(targets) > 1 and click.confirm(question, default=False)
    return NewModel(model, tuple(targets), equivalent)


# --- the file, the team and what is next -----------------------------------------------


def _target(config: Path | None) -> Path:
    file = config or (NEW_FILE if DEFAULT_FILE.exists() else DEFAULT_FILE)
    if file.exists():
        raise click.UsageError(f"{file} exists and is kept: name a new file with --config")
    return file


def _write(file: Path, upstreams: Sequence[NewUpstream], models: Sequence[NewModel]) -> Path:
    """Write the settings file, unless a setting in it would be refused."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f".{file.name}.new")
    try:
        new.write_text(text_of(upstreams, models), encoding="utf-8")
        load(new)
        new.rename(file)
    except SettingsError as error:
        raise click.UsageError(str(error).replace(str(new), str(file))) from None
    except OSError as error:
        raise click.UsageError(f"{file} can't be written: {error.strerror}") from None
    finally:
        new.unlink(missing_ok=True)
    click.echo(f"{file} is written.")
    return file


def _make_team(settings: Settings, team: str, budget_usd: str, key: str) -> str | None:
    """The secret of the first key of the team; None where there are teams already."""
    by = author("gateway init")

    async def make(tx: Transaction) -> str | None:
        if await teams.list_teams(tx, limit=1):
            return None
        defaults = AccountSettings(limits=settings.new_team)
        terms = change_settings(defaults, "team", {"budget_usd": budget_usd})
        await teams.create_team(tx, team, terms, by)
        return (await keys.create_key(tx, team, key, AccountSettings(), by)).secret

    secret = change_state(settings, make)
    if secret is None:
        click.echo("There are teams already: none is made.")
        return None
    click.echo(
        f"The team {team} may spend ${budget_usd} a month. The secret of its key {team}/{key}:\n\n"
        f"    {secret}\n\nKeep it now: it is shown only once."
    )
    return secret


def _print_next(
    settings: Settings,
    file: Path,
    upstreams: Sequence[NewUpstream],
    models: Sequence[NewModel],
    secret: str | None,
) -> None:
    """The next three commands: the upstreams' keys, the start, an edit."""
    config = "" if file == DEFAULT_FILE else f"GATEWAY_CONFIG={shlex.quote(str(file.resolve()))} "
    variables = " ".join(f"{each.key_variable}=…" for each in upstreams)
    listed = [name for each in upstreams for name in each.models]
    model = next(iter([*(each.name for each in models), *listed]), "MODEL")
    url = f"http://{settings.server.host}:{settings.server.port}"
    named = " and a model that `gateway check` names in place of MODEL" if model == "MODEL" else ""
    click.echo(
        f"\nNext, with the upstream's key in place of …{named}:\n\n"
        f"    export {config}{variables}\n"
        "    gateway check && gateway serve\n"
        f"    curl {url}/v1/images/edits -H 'Authorization: Bearer {secret or 'KEY'}' "
        f"-F model={model} -F prompt='make it grey' -F 'image[]=@picture.png'\n"
    )
