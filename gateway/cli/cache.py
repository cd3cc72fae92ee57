"""The stored results: what they are worth, what is to go, and whether any is damaged."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import click
from rich.console import Console
from rich.filesize import decimal as size_text
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gateway.accounts.rules.errors import AccountError
from gateway.cache.result_store import Progress as Report
from gateway.cache.result_store import StoreUnavailable
from gateway.cache.rules.purge_selection import Selection
from gateway.cli.context import (
    author,
    config_option,
    json_option,
    print_json,
    print_rows,
    reason_option,
    settings_of,
)
from gateway.database.clock import now_ms
from gateway.database.database import StateUnavailable
from gateway.database.migrate import SchemaTooNew, migrate
from gateway.ledger.tables.reports import Reuse
from gateway.model.units import seconds_of
from gateway.queries.cache import SHOWN_ENTRIES, Holdings, Housekeeper, Selected
from gateway.queries.serializers import entry_facts, reuse_facts
from gateway.runtime.engines import open_database, open_results
from gateway.settings import Settings, SettingsError
from gateway.uploads.reader import digest

Result = TypeVar("Result")

REUSE_COLUMNS = ("fingerprint", "model", "uses", "saved_usd")
ENTRY_COLUMNS = (
    "fingerprint", "team", "key", "model", "created_at", "bytes", "cost_usd", "reference_images",
)  # fmt: skip


@click.group()
def cache() -> None:
    """The stored results: what is there, purge it, check it."""


# --- stats ----------------------------------------------------------------------------


@cache.command("stats")
@click.option("--team", default=None, help="What this team has paid for, and its use of it.")
@config_option
@json_option
def stats(config: Path | None, as_json: bool, team: str | None) -> None:
    """Show what is stored, how often it was used in the last 30 days, and what that saved."""
    settings = settings_of(config)
    with Console(stderr=True).status("looking at the results …"):
        held = _keep_house(settings, lambda keeper: keeper.holdings(now_ms(), team=team))
    if as_json:
        print_json({"url": settings.cache.url, **held.facts()})
    else:
        _print_holdings(settings.cache.url, held)


def _print_holdings(url: str, held: Holdings) -> None:
    facts = held.facts()
    of = f" of {size_text(held.max_bytes)}" if held.max_bytes else ""
    since = f", the oldest from {facts['oldest_at']}" if facts["oldest_at"] else ""
    click.echo(f"{url}: {held.stats.entries:,} entries, {size_text(held.stats.bytes)}{of}{since}.")
    click.echo(
        f"From {held.from_day} to {held.to_day}: {held.answered:,} answers, {held.usage.hits:,} of "
        f"them hits ({held.hit_share:.1%}) and {held.usage.coalesced:,} that shared a running "
        f"call; ${facts['saved_usd']} saved."
    )
    _print_reuse("Used most:", held.by_use)
    if [each.fingerprint for each in held.by_saving] != [each.fingerprint for each in held.by_use]:
        _print_reuse("Saved most:", held.by_saving)


def _print_reuse(title: str, reused: Sequence[Reuse]) -> None:
    if reused:
        click.echo(f"\n{title}")
        print_rows([reuse_facts(each) for each in reused], columns=REUSE_COLUMNS)


# --- purge ----------------------------------------------------------------------------


@cache.command("purge")
@click.option("--fingerprint", help='This one: the key="…" of Cache-Status.')
@click.option("--team", help="What this team has paid for.")
@click.option("--key", help="What this key has bought: its id, or TEAM/NAME.")
@click.option("--model", help="What this model has made.")
@click.option("--older-than", metavar="AGE", help="What was bought longer ago than, say, 30d.")
@click.option(
    "--containing",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Every result made from this picture, byte for byte.",
)
@click.option("--all", "everything", is_flag=True, help="Everything.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@reason_option
@config_option
@json_option
def purge(
    config: Path | None,
    as_json: bool,
    reason: str,
    yes: bool,
    dry_run: bool,
    everything: bool,
    older_than: str | None,
    containing: Path | None,
    **named: str | None,
) -> None:
    """Delete stored results, everywhere within a second; asked for again, they are bought anew.

    Filters narrow together: --team design --older-than 30d takes what is both.
    """
    given = [*named.values(), older_than, containing]
    if not everything and all(value is None for value in given):
        raise click.UsageError("say what is to go: a filter, or --all (see --help)")
    settings = settings_of(config)
    wanted = Selection(
        fingerprint=named["fingerprint"],
        team=named["team"],
        key_id=named["key"],
        model=named["model"],
        made_before_ms=_made_before_ms(older_than),
        picture=None if containing is None else digest(containing.read_bytes()),
    )
    selected = _select(settings, wanted)
    if dry_run:
        _print_selected(selected, as_json)
        return
    if selected.entries and not yes:
        _confirm(selected)
    purged = _purge(settings, selected, reason)
    if as_json:
        print_json({"dry_run": False, **selected.facts(), "purged": purged})
    else:
        click.echo(f"{purged:,} entries purged.")


def _made_before_ms(age: str | None) -> int | None:
    """When what is so old now was made at the latest. Raises BadParameter."""
    if age is None:
        return None
    try:
        span_ms = int(float(str(seconds_of(age))) * 1000)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--older-than") from None
    return max(0, now_ms() - span_ms)


def _select(settings: Settings, wanted: Selection) -> Selected:
    async def select(keeper: Housekeeper) -> Selected:
        key_id = None if wanted.key_id is None else await keeper.key_id(wanted.key_id)
        return await keeper.select(replace(wanted, key_id=key_id), report)

    with _bar("looking") as report:
        return _keep_house(settings, select)


def _purge(settings: Settings, selected: Selected, reason: str) -> int:
    with _bar("purging") as report:
        return _keep_house(settings, lambda keeper: keeper.purge(selected, author(reason), report))


def _print_selected(selected: Selected, as_json: bool) -> None:
    if as_json:
        print_json({"dry_run": True, **selected.facts(), "purged": 0})
        return
    click.echo(f"{_in_words(selected)} would go.")
    if selected.entries:
        if selected.entries > SHOWN_ENTRIES:
            click.echo(f"The first {SHOWN_ENTRIES} of them:")
        print_rows([entry_facts(entry) for entry in selected.first], columns=ENTRY_COLUMNS)


def _confirm(selected: Selected) -> None:
    try:
        click.confirm(
            f"{_in_words(selected)} will go, to be bought anew when asked for. Purge?",
            abort=True,
            err=True,
        )
    except click.Abort:
        raise click.ClickException("nothing was purged; --yes purges without asking") from None


def _in_words(selected: Selected) -> str:
    return f"{selected.entries:,} entries with {size_text(selected.bytes)} of pictures"


# --- verify ---------------------------------------------------------------------------


@cache.command("verify")
@config_option
@json_option
def verify(config: Path | None, as_json: bool) -> None:
    """Check every stored result against its digest, and delete what is damaged.

    Ends with status 1 where something was.
    """
    with _bar("checking") as report:
        found = _keep_house(settings_of(config), lambda keeper: keeper.verify(report))
    if as_json:
        print_json({"checked": found.checked, "damaged": found.damaged})
    elif found.damaged:
        click.echo(
            f"{found.checked:,} checked: {found.damaged:,} were damaged and have been deleted; "
            "asked for again, they are bought anew."
        )
    else:
        click.echo(f"{found.checked:,} checked, none is damaged.")
    if found.damaged:
        raise SystemExit(1)


# --- what they share ------------------------------------------------------------------


def _keep_house(settings: Settings, work: Callable[[Housekeeper], Awaitable[Result]]) -> Result:
    """Open the state and the results, do it, close both; what went wrong is one clear line."""

    async def run() -> Result:
        database = open_database(settings.state.url)
        try:
            await migrate(database)
            results = open_results(settings)
            try:
                return await work(Housekeeper(settings, database, results))
            finally:
                await results.close()
        finally:
            await database.close()

    try:
        return asyncio.run(run())
    except (AccountError, StoreUnavailable, SchemaTooNew, SettingsError) as error:
        raise click.ClickException(str(error)) from None
    except StateUnavailable as error:
        raise click.ClickException(f"the state can't be used: {error}") from None


@contextmanager
def _bar(what: str) -> Iterator[Report]:
    """A progress bar on a terminal, and nothing elsewhere."""
    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
