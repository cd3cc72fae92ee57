"""`gateway check`."""

from __future__ import annotations

import asyncio
import functools
import os
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from gateway.accounts.tables import keys, organisation, teams
from gateway.alerts.undelivered import Undelivered
from gateway.cache.result_store import StoreUnavailable
from gateway.cli import check_mail
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
from gateway.settings import Settings, SettingsError, suspects, used_file
from gateway.upstream.client import CatalogueUnavailable
from gateway.upstream.rules.catalogue_parser import Listing, parse
from gateway.upstream.rules.likely_setting import likely_setting


@dataclass(frozen=True, slots=True)
class CheckFinding:
    """What was found of a part, and what to do about it; nothing where it is as it should be."""

    part: str
    text: str
    remedy: str = ""
    is_fault: bool = False

    @property
    def is_good(self) -> bool:
        return not (self.is_fault or self.remedy)

    @property
    def mark(self) -> str:
        return "FAULT: " if self.is_fault else "note: " if self.remedy else ""


_SHOWN_MODELS = 10


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
    the key, and booked in the ledger like any other. Exits with status 1 if there is a fault.
    """
    if not try_edit and (key or model or yes):
        raise click.UsageError("--key, --model and --yes belong to --try-edit")
    settings = settings_of(config)
    file = str(used_file(config) or "defaults and the environment")
    found = [CheckFinding("settings", f"{file}: valid"), *_spelling(config)]
    found += asyncio.run(findings(settings))
    width = max(9, *(len(finding.part) for finding in found))
    (_print_styled if sys.stdout.isatty() else _print)(found, width)
    good = not any(finding.is_fault for finding in found)
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
        if any(finding.is_fault for finding in found):
            raise check_edit.NotMade("not made, because of the faults above")
        if not any(finding.part == "state" and finding.is_good for finding in found):
            raise check_edit.NotMade("not made: no state to book it in; gateway init creates it")
        check_edit.try_edit(settings, key, model, say, yes=yes)
    except check_edit.NotMade as error:
        say(f"FAULT: {error}")
        return False
    return True


def _say_of_edit(width: int, text: str) -> None:
    click.echo(f"{'try edit':<{width}} {text}")


def _print(found: Sequence[CheckFinding], width: int) -> None:
    for finding in found:
        click.echo(f"{finding.part:<{width}} {finding.mark}{finding.text}")
        if finding.remedy:
            click.echo(f"{'':<{width}} → {finding.remedy}")


def _print_styled(found: Sequence[CheckFinding], width: int) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    lines = Table.grid(padding=(0, 1))
    lines.add_column(min_width=width)
    lines.add_column()
    for finding in found:
        style = "red" if finding.is_fault else "yellow" if finding.remedy else ""
        lines.add_row(Text(finding.part, "bold"), Text(f"{finding.mark}{finding.text}", style))
        if finding.remedy:
            lines.add_row("", Text(f"→ {finding.remedy}"))
    Console().print(lines)


def fault(part: str, text: object, remedy: str) -> CheckFinding:
    return CheckFinding(part, str(text), remedy, is_fault=True)


def _spelling(config: Path | None) -> list[CheckFinding]:
    remedy = "correct the name, or unset the variable"
    return [CheckFinding("settings", text, remedy) for text in suspects(config)]


async def findings(settings: Settings) -> list[CheckFinding]:
    """Everything that was checked, in the order in which a start needs it."""
    return [
        *await _state(settings),
        *await _results(settings),
        *_spool(settings),
        _price_table(settings),
        *await _upstreams(settings),
        *await _mail(settings),
        *_tracing(settings),
        _links(settings),
        *_access(settings),
    ]


async def _state(settings: Settings) -> list[CheckFinding]:
    name, file = state_name(settings), settings.state.sqlite_file
    if file and (folder := _folder("state", file.parent, "[state] url")).is_fault:
        return [folder]
    try:
        database = open_database(settings.state)
        try:
            if not await state_exists(settings, database):
                remedy = "gateway init, or gateway serve, creates it"
                return [CheckFinding("state", f"there is none at {name} yet", remedy)]
            version, newest = await database.read(schema_version), known_migrations()[-1].number
            if version > newest:
                raise SchemaTooNew(version, newest)
            if version < newest:
                remedy = f"gateway state migrate, or gateway serve, brings it to {newest}"
                return [CheckFinding("state", f"{name} has schema {version}", remedy)]
            unlimited = await database.read(teams.unlimited_teams)
            paused = await database.read(organisation.paused_accounts)
            with_users = await database.read(organisation.accounts_limiting_end_users)
            found_teams = await database.read(lambda tx: teams.list_teams(tx, limit=EVERY))
            key_count = len(await database.read(lambda tx: keys.list_keys(tx, limit=EVERY)))
        finally:
            await database.close()
    except SchemaTooNew as error:
        return [fault("state", error, "install that version, or correct [state] url")]
    except (SettingsError, StateUnavailable) as error:
        remedy = "correct [state] url, or start the database that it names"
        return [fault("state", error, remedy)]
    counts = f"{name}: schema {version}, teams: {len(found_teams)}, keys: {key_count}"
    found = [CheckFinding("state", counts)]
    remedy = "gateway resume, or gateway resume --team NAME, allows paid calls again"
    found += [CheckFinding("spending", f"paused for {each}", remedy) for each in paused]
    if not key_count:
        remedy = "gateway teams create NAME --budget-usd 50, then gateway keys create --team NAME"
        found.append(CheckFinding("state", "no key yet, so nobody can ask", remedy))
    if unlimited:
        text = f"teams without a budget of their own: {', '.join(unlimited)}"
        remedy = "gateway teams update NAME --budget-usd 50, unless it is meant"
        found.append(CheckFinding("budgets", text, remedy))
    if with_users and settings.accounts.end_users == "off":
        text = f"limits of end users refuse every request of: {', '.join(with_users)}"
        remedy = 'set [accounts] end_users = "hashed", or take the limits away'
        found.append(CheckFinding("end users", text, remedy))
    if unmailed := check_mail.unmailed_owners(settings, found_teams):
        found.append(CheckFinding("mail", *unmailed))
    return found


async def _results(settings: Settings) -> list[CheckFinding]:
    cache = settings.cache
    setting = "[cache] local_folder" if cache.bucket_url else "[cache] url"
    local = _folder("results", cache.folder, setting)
    if not local.is_fault and cache.bucket_url:
        return [local, await _bucket(settings)]
    return [local]


async def _bucket(settings: Settings) -> CheckFinding:
    """Read the first result, if any. Nothing is written there or here: a check changes nothing."""
    url = settings.cache.url
    try:
        await anext(open_results(settings).entries(), None)
    except SettingsError as error:
        return fault("results", error, "correct [cache] url, or install the extra that it needs")
    except StoreUnavailable as error:
        remedy = "correct [cache] url, or the bucket's credentials and permissions"
        return fault("results", f"{url} can't be read: {error}", remedy)
    return CheckFinding("results", f"{url} can be read")


def _spool(settings: Settings) -> list[CheckFinding]:
    folder = settings.server.spool_folder
    return [_folder("spool", Path(folder), "[server] spool_folder")] if folder else []


def _folder(part: str, folder: Path, setting: str) -> CheckFinding:
    """Can the folder of this setting be written?"""
    nearest = folder
    while not nearest.exists():
        nearest = nearest.parent
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        text = f"{folder} can't be written: {nearest} is in the way"
        remedy = f"give this user (uid {os.getuid()}) the right to write there, or set {setting}"
        return fault(part, text, remedy)
    space = os.statvfs(nearest)
    free_gb = space.f_bavail * space.f_frsize / 10**9
    return CheckFinding(part, f"{folder} can be written, {free_gb:.1f} GB free")


async def _upstreams(settings: Settings) -> list[CheckFinding]:
    """Each upstream, and how the settings of models fit the catalogues."""
    found, listings = list[CheckFinding](), dict[str, Collection[str] | None]()
    for name in settings.every_upstream:
        findings, listing = await _upstream(settings, name)
        found += findings
        listings[name] = listing.items if listing else None
    conflicts = routing_of(settings).conflicts(listings)
    remedy = 'correct targets and aliases in [models."NAME"], or models of the upstream'
    return found + [CheckFinding("models", text, remedy) for text in conflicts]


async def _upstream(settings: Settings, name: str) -> tuple[Sequence[CheckFinding], Listing | None]:
    found = []
    part = f"upstream {name}" if settings.upstreams else "upstream"
    base_url, section = settings.every_upstream[name].base_url, settings.upstream_section(name)
    try:
        upstream = open_upstream(settings, name)
    except SettingsError as error:
        what, _, remedy = str(error).partition(": ")
        return [fault(part, what, remedy)], None
    try:
        listing = parse(await upstream.models())
        editing = sorted(model for model, facts in listing.facts.items() if facts.edit_supported)
        text = f"{base_url}: {len(listing.facts)} models, {len(editing)} can edit"
        text += f": {_first_of(editing)}" if editing else ""
        found.append(CheckFinding(part, text))
        found += _unpriced(settings, name, listing)
        remedy = f"replace or remove this key of [{section}] api_key"
        found += [fault(part, text, remedy) for text in await upstream.unusable_keys()]
    except (CatalogueUnavailable, ValueError) as error:
        status = error.status if isinstance(error, CatalogueUnavailable) else 200
        likely = likely_setting(section, status=status, error=str(error))
        remedy = f"look at {likely}" if likely else "try again later: the upstream itself fails"
        return [fault(part, f"{base_url}: {error}", remedy)], None
    finally:
        await upstream.close()
    return found, listing


def _price_table(settings: Settings) -> CheckFinding:
    try:
        table = open_prices(settings).table
    except SettingsError as error:
        return fault("prices", error, "correct the file, or unset [prices] file")
    name = settings.prices.file or "the price table that ships"
    return CheckFinding("prices", f"{name}: version {table.version}, {len(table.prices)} models")


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
    reserved = usd(prices.default_of(name))
    text = f"no price of {_first_of(unpriced)}: each picture is reserved at ${reserved}"
    remedy = 'set price_ceiling_usd in [models."NAME"], or give the price in [prices] file'
    return [CheckFinding("prices", text, remedy)]


def _first_of(models: Sequence[str]) -> str:
    more = f" and {len(models) - _SHOWN_MODELS} more" if len(models) > _SHOWN_MODELS else ""
    return ", ".join(models[:_SHOWN_MODELS]) + more


async def _mail(settings: Settings) -> list[CheckFinding]:
    try:
        found = await check_mail.connection(settings)
    except Undelivered as error:
        remedy = "correct [reports] smtp_url, or ca_bundle for a certificate of your own authority"
        return [fault("mail", f"the mail server can't be used: {error}", remedy)]
    return [CheckFinding("mail", *found)] if found else []


def _tracing(settings: Settings) -> list[CheckFinding]:
    try:
        open_spans(settings).close()
    except SettingsError as error:
        return [fault("tracing", error, "install the extra, or unset [tracing] endpoint")]
    return []


def _links(settings: Settings) -> CheckFinding:
    if settings.server.public_url:
        return CheckFinding("links", f"links to pictures begin {settings.server.public_url}")
    text = "answers to response_format=url are the upstream's own URLs, unstored"
    return CheckFinding("links", text, "set [server] public_url to store them and sign links")


def _access(settings: Settings) -> list[CheckFinding]:
    found = []
    if settings.server.host not in ("127.0.0.1", "::1", "localhost"):
        text = f"{settings.server.host} is reachable from elsewhere"
        found.append(CheckFinding("listening", text, "put a proxy with TLS in front of it"))
    if not settings.admin.token.get_secret_value():
        remedy = "set GATEWAY_ADMIN_TOKEN to switch it on, where it is wanted"
        found.append(CheckFinding("admin", "/admin is off: no root token is set", remedy))
    return found
