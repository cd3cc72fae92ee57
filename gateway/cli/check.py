"""`gateway check`."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from gateway.accounts.tables import keys, organisation, teams
from gateway.cache.result_store import StoreUnavailable
from gateway.cli.options import EVERY, config_option, yes_option
from gateway.cli.state_access import settings_of, state_exists, state_name
from gateway.database.clock import now_ms
from gateway.database.database import StateUnavailable
from gateway.database.migrate import SchemaTooNew, known_migrations, schema_version
from gateway.model.money import usd
from gateway.model.windows import day_of
from gateway.runtime.backends import (
    open_database,
    open_prices,
    open_results,
    open_spans,
    open_upstream,
    routing_of,
)
from gateway.settings import Settings, SettingsError, used_file
from gateway.upstream.client import CatalogueUnavailable
from gateway.upstream.rules.catalogue_parser import Listing, parse


@dataclass(frozen=True, slots=True)
class CheckFinding:
    """One line; `good` is None for a note."""

    part: str
    good: bool | None
    text: str


_SHOWN_MODELS = 10
_MARKS: Mapping[bool | None, str] = {True: "", None: "note: ", False: "FAULT: "}


@click.command()
@config_option
@click.option("--try-edit", is_flag=True, help="Buy one smallest edit, after asking for its price.")
@click.option("--key", help="With --try-edit: the key that pays, its id or TEAM/NAME.")
@click.option("--model", help="With --try-edit: the model (default: the cheapest that edits).")
@yes_option
def check(
    config: Path | None, try_edit: bool, key: str | None, model: str | None, yes: bool
) -> None:
    """Check settings, state, results and upstream. Changes nothing.

    With --try-edit it also buys one smallest edit: as a key of the gateway, within the budgets of
    the key, and booked in the ledger like any other.
    """
    if not try_edit and (key or model or yes):
        raise click.UsageError("--key, --model and --yes belong to --try-edit")
    settings = settings_of(config)
    found = asyncio.run(findings(settings))
    width = max(9, *(len(finding.part) for finding in found))
    click.echo(
        f"{'settings':<{width}} {used_file(config) or 'defaults and the environment'}: valid"
    )
    for finding in found:
        click.echo(f"{finding.part:<{width}} {_MARKS[finding.good]}{finding.text}")
    good = not any(finding.good is False for finding in found)
    if try_edit:
        say = functools.partial(_say_of_edit, width)
        good &= _try_edit(settings, found, key, model, say, yes=yes)
    if not good:
        raise SystemExit(1)


def _try_edit(
    settings: Settings,
    found: Collection[CheckFinding],
    key: str | None,
    model: str | None,
    say: Callable[[str], None],
    *,
    yes: bool,
) -> bool:
    """Make the edit. False where it was not made or failed."""
    from gateway.cli import check_edit

    try:
        if any(finding.good is False for finding in found):
            raise check_edit.NotMade("not made, because of the faults above")
        if not any(finding.part == "state" and finding.good for finding in found):
            raise check_edit.NotMade("not made: no state to book it in; gateway init creates it")
        check_edit.try_edit(settings, key, model, say, yes=yes)
    except check_edit.NotMade as error:
        say(f"{_MARKS[False]}{error}")
        return False
    return True


def _say_of_edit(width: int, text: str) -> None:
    click.echo(f"{'try edit':<{width}} {text}")


async def findings(settings: Settings) -> list[CheckFinding]:
    """Everything that was checked, in the order in which a start needs it."""
    return [
        *await _state(settings),
        *await _results(settings),
        *_spool(settings),
        _price_table(settings),
        *await _upstreams(settings),
        *_tracing(settings),
        _links(settings),
        *_access(settings),
    ]


async def _state(settings: Settings) -> list[CheckFinding]:
    name, file = state_name(settings), settings.state.sqlite_file
    if file and not (folder := _folder("state", file.parent)).good:
        return [folder]
    try:
        database = open_database(settings.state)
        try:
            if not await state_exists(settings, database):
                text = f"there is none at {name} yet: gateway init, or gateway serve, creates it"
                return [CheckFinding("state", None, text)]
            version, newest = await database.read(schema_version), known_migrations()[-1].number
            if version > newest:
                raise SchemaTooNew(version, newest)
            if version < newest:
                text = f"{name} has schema {version}: gateway serve, or gateway init, brings it to"
                return [CheckFinding("state", None, f"{text} {newest}")]
            unlimited = await database.read(teams.unlimited_teams)
            paused = await database.read(organisation.paused_accounts)
            found_teams = await database.read(lambda tx: teams.list_teams(tx, limit=EVERY))
            key_count = len(await database.read(lambda tx: keys.list_keys(tx, limit=EVERY)))
        finally:
            await database.close()
    except (SettingsError, StateUnavailable, SchemaTooNew) as error:
        return [CheckFinding("state", False, str(error))]
    counts = f"{name}: schema {version}, teams: {len(found_teams)}, keys: {key_count}"
    found = [CheckFinding("state", True, counts)]
    found += [CheckFinding("spending", None, f"paused for {each}") for each in paused]
    if not key_count:
        text = "no key yet: gateway teams create, then gateway keys create"
        found.append(CheckFinding("state", None, text))
    if unlimited:
        text = f"teams without a budget of their own: {', '.join(unlimited)}"
        found.append(CheckFinding("budgets", None, text))
    return found


async def _results(settings: Settings) -> list[CheckFinding]:
    local = _folder("results", settings.cache.folder)
    if local.good and settings.cache.bucket_url:
        return [local, await _bucket(settings)]
    return [local]


async def _bucket(settings: Settings) -> CheckFinding:
    """Read the first result, if any. Nothing is written there or here: a check changes nothing."""
    url = settings.cache.url
    try:
        await anext(open_results(settings).entries(), None)
    except SettingsError as error:
        return CheckFinding("results", False, str(error))
    except StoreUnavailable as error:
        return CheckFinding("results", False, f"{url} can't be read: {error}")
    return CheckFinding("results", True, f"{url} can be read")


def _spool(settings: Settings) -> list[CheckFinding]:
    folder = settings.server.spool_folder
    return [_folder("spool", Path(folder))] if folder else []


def _folder(part: str, folder: Path) -> CheckFinding:
    nearest = folder
    while not nearest.exists():
        nearest = nearest.parent
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        return CheckFinding(part, False, f"{folder} can't be written: {nearest} is in the way")
    space = os.statvfs(nearest)
    free_gb = space.f_bavail * space.f_frsize / 10**9
    return CheckFinding(part, True, f"{folder} can be written, {free_gb:.1f} GB free")


async def _upstreams(settings: Settings) -> list[CheckFinding]:
    """Each upstream, and how the settings of models fit the catalogues."""
    found, listings = list[CheckFinding](), dict[str, Collection[str] | None]()
    for name in settings.every_upstream:
        findings, listing = await _upstream(settings, name)
        found += findings
        listings[name] = listing.items if listing else None
    conflicts = routing_of(settings).conflicts(listings)
    return found + [CheckFinding("models", None, text) for text in conflicts]


async def _upstream(settings: Settings, name: str) -> tuple[Sequence[CheckFinding], Listing | None]:
    found = []
    part = f"upstream {name}" if settings.upstreams else "upstream"
    base_url = settings.every_upstream[name].base_url
    try:
        upstream = open_upstream(settings, name)
    except SettingsError as error:
        return [CheckFinding(part, False, str(error))], None
    try:
        listing = parse(await upstream.models())
        editing = sum(bool(facts.edit_supported) for facts in listing.facts.values())
        text = f"{base_url}: {len(listing.facts)} models, {editing} can edit"
        found.append(CheckFinding(part, True, text))
        found += _unpriced(settings, name, listing)
        found += [CheckFinding(part, False, text) for text in await upstream.unusable_keys()]
    except (CatalogueUnavailable, ValueError) as error:
        return [CheckFinding(part, False, f"{base_url}: {error}")], None
    finally:
        await upstream.close()
    return found, listing


def _price_table(settings: Settings) -> CheckFinding:
    try:
        table = open_prices(settings).table
    except SettingsError as error:
        return CheckFinding("prices", False, str(error))
    name = settings.prices.file or "the price table that ships"
    return CheckFinding(
        "prices", True, f"{name}: version {table.version}, {len(table.prices)} models"
    )


def _unpriced(settings: Settings, name: str, listing: Listing) -> list[CheckFinding]:
    """Models of the catalogue that make pictures and have no price."""
    try:
        prices = open_prices(settings)
    except SettingsError:
        return []  # _price_table says why
    routing, today = routing_of(settings), day_of(now_ms(), settings.zone)
    unpriced = sorted(
        model
        for model, facts in listing.facts.items()
        if facts.edit_supported or (facts.edit_supported is None and "image" in model)
        if prices.basis(name, routing.target(name, model).model, today) == "default"
    )
    if not unpriced:
        return []
    shown = ", ".join(unpriced[:_SHOWN_MODELS])
    more = f" and {len(unpriced) - _SHOWN_MODELS} more" if len(unpriced) > _SHOWN_MODELS else ""
    reserved = usd(prices.default_of(name))
    text = (
        f"no price of {shown}{more}: each picture is reserved at ${reserved}; set "
        'price_ceiling_usd in [models."NAME"], or give the price in [prices] file'
    )
    return [CheckFinding("prices", None, text)]


def _tracing(settings: Settings) -> list[CheckFinding]:
    try:
        open_spans(settings).close()
    except SettingsError as error:
        return [CheckFinding("tracing", False, str(error))]
    return []


def _links(settings: Settings) -> CheckFinding:
    if settings.server.public_url:
        return CheckFinding("links", True, f"links to pictures begin {settings.server.public_url}")
    text = (
        "[server] public_url is not set: answers to response_format=url are the upstream's own "
        "URLs, unstored"
    )
    return CheckFinding("links", None, text)


def _access(settings: Settings) -> list[CheckFinding]:
    found = []
    if settings.server.host not in ("127.0.0.1", "::1", "localhost"):
        text = f"{settings.server.host} is reachable from elsewhere; put TLS in front of it"
        found.append(CheckFinding("listening", None, text))
    if not settings.admin.token.get_secret_value():
        found.append(CheckFinding("admin", None, "/admin is off: GATEWAY_ADMIN_TOKEN is not set"))
    return found
