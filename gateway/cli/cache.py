"""`gateway cache`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import click
from rich.filesize import decimal as size_text

from gateway.accounts.tables.audit import Author
from gateway.cache.result_store import StoreUnavailable
from gateway.cache.rules.purge_selection import Selection
from gateway.cli import completion
from gateway.cli.options import change_options, milliseconds_of, read_options, yes_option
from gateway.cli.output import print_json, print_rows, progress_bar, working
from gateway.cli.state_access import with_database
from gateway.database.clock import now_ms
from gateway.database.database import Database
from gateway.queries.cache_admin import SHOWN_ENTRIES, CacheAdmin, SelectedEntries
from gateway.queries.models.cache import CacheStatisticsView, EntryView, ReuseView
from gateway.runtime.backends import open_results
from gateway.settings import Settings
from gateway.uploads.uploaded_file import digest

Result = TypeVar("Result")

REUSE_COLUMNS = ("fingerprint", "model", "uses", "saved_usd")
ENTRY_COLUMNS = (
    "fingerprint", "team", "key", "model", "created_at", "bytes", "cost_usd", "reference_images",
)  # fmt: skip


@click.group()
def cache() -> None:
    """Stored results: statistics, deletion, verification."""


# --- stats ----------------------------------------------------------------------------


@cache.command("stats")
@click.option(
    "--team",
    default=None,
    shell_complete=completion.TEAMS,
    help="Only results that this team paid for, and their use.",
)
@read_options
def stats(settings: Settings, as_json: bool, team: str | None) -> None:
    """Show what is stored, how often it was used in 30 days, and the savings."""
    with working("reading the results"):
        found = _with_results(settings, lambda cache: cache.statistics(now_ms(), team=team))
    if as_json:
        print_json({"url": settings.cache.url, **found.row()})
    else:
        _print_statistics(settings.cache.url, found)


def _print_statistics(url: str, found: CacheStatisticsView) -> None:
    of = f" of {size_text(found.max_bytes)}" if found.max_bytes else ""
    since = f", the oldest from {found.oldest_at}" if found.oldest_at else ""
    click.echo(f"{url}: {found.entries:,} entries, {size_text(found.bytes)}{of}{since}.")
    click.echo(
        f"From {found.from_day} to {found.to_day}: {found.answered:,} answers, {found.hits:,} of "
        f"them hits ({found.hit_share:.1%}) and {found.coalesced:,} that joined a call in "
        f"flight; ${found.saved_usd} saved."
    )
    _print_reuse("Used most:", found.top_by_use)
    most_saved = [each.fingerprint for each in found.top_by_saving]
    if most_saved != [each.fingerprint for each in found.top_by_use]:
        _print_reuse("Saved most:", found.top_by_saving)


def _print_reuse(title: str, reused: Sequence[ReuseView]) -> None:
    if reused:
        click.echo(f"\n{title}")
        print_rows([each.row() for each in reused], columns=REUSE_COLUMNS)


# --- purge ----------------------------------------------------------------------------


@cache.command("purge")
@click.option("--fingerprint", help='One result: the key="…" in Cache-Status.')
@click.option("--team", shell_complete=completion.TEAMS, help="Results that this team paid for.")
@click.option(
    "--key",
    shell_complete=completion.KEYS,
    help="Results that this key bought: its id, or TEAM/NAME.",
)
@click.option("--model", shell_complete=completion.MODELS, help="Results of this model.")
@click.option("--older-than", metavar="AGE", help="Results older than this, such as 30d.")
@click.option(
    "--containing",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Results made from exactly this picture.",
)
@click.option("--all", "everything", is_flag=True, help="All results.")
@click.option("--dry-run", is_flag=True, help="Only print what would be deleted.")
@yes_option
@change_options
def purge(
    settings: Settings,
    as_json: bool,
    by: Author,
    yes: bool,
    dry_run: bool,
    everything: bool,
    older_than: str | None,
    containing: Path | None,
    **named: str | None,
) -> None:
    """Delete stored results within a second. The next request for one buys it again.

    All filters must match: --team design --older-than 30d.
    """
    given = [*named.values(), older_than, containing]
    if not everything and all(value is None for value in given):
        raise click.UsageError("give a filter, or --all (see --help)")
    age_ms = None if older_than is None else milliseconds_of(older_than, "--older-than")
    made_before_ms = None if age_ms is None else max(0, now_ms() - age_ms)
    wanted = Selection(
        fingerprint=named["fingerprint"],
        team=named["team"],
        key_id=named["key"],
        model=named["model"],
        made_before_ms=made_before_ms,
        picture=None if containing is None else digest(containing.read_bytes()),
    )
    selected = _select(settings, wanted)
    if dry_run:
        _print_selected(selected, as_json)
        return
    if selected.entries and not yes:
        _confirm(selected)
    purged = _purge(settings, selected, by)
    if as_json:
        print_json(selected.purge_view(dry_run=False, purged=purged).row())
    else:
        click.echo(f"{purged:,} entries purged.")


def _select(settings: Settings, wanted: Selection) -> SelectedEntries:
    async def select(cache: CacheAdmin) -> SelectedEntries:
        key_id = None if wanted.key_id is None else await cache.key_id(wanted.key_id)
        return await cache.select(replace(wanted, key_id=key_id), report)

    with progress_bar("looking") as report:
        return _with_results(settings, select)


def _purge(settings: Settings, selected: SelectedEntries, by: Author) -> int:
    with progress_bar("purging") as report:
        return _with_results(settings, lambda cache: cache.purge(selected, by, report))


def _print_selected(selected: SelectedEntries, as_json: bool) -> None:
    if as_json:
        print_json(selected.purge_view(dry_run=True, purged=0).row())
        return
    click.echo(f"{_in_words(selected)} would be deleted.")
    if selected.entries:
        if selected.entries > SHOWN_ENTRIES:
            click.echo(f"The first {SHOWN_ENTRIES} of them:")
        print_rows([EntryView.of(entry).row() for entry in selected.first], columns=ENTRY_COLUMNS)


def _confirm(selected: SelectedEntries) -> None:
    try:
        click.confirm(
            f"{_in_words(selected)} will be deleted; the next request for each buys it again. "
            "Purge?",
            abort=True,
            err=True,
        )
    except click.Abort:
        raise click.ClickException("nothing was purged; --yes purges without a prompt") from None


def _in_words(selected: SelectedEntries) -> str:
    return f"{selected.entries:,} entries with {size_text(selected.bytes)} of pictures"


# --- verify ---------------------------------------------------------------------------


@cache.command("verify")
@read_options
def verify(settings: Settings, as_json: bool) -> None:
    """Check every stored result against its digest, and delete damaged ones.

    Exits with status 1 if any was damaged.
    """
    with progress_bar("checking") as report:
        found = _with_results(settings, lambda cache: cache.verify(report))
    if as_json:
        print_json({"checked": found.checked, "damaged": found.damaged})
    elif found.damaged:
        click.echo(
            f"{found.checked:,} checked: {found.damaged:,} were damaged and have been deleted; "
            "the next request for each buys it again."
        )
    else:
        click.echo(f"{found.checked:,} checked, none is damaged.")
    if found.damaged:
        raise SystemExit(1)


def _with_results(settings: Settings, work: Callable[[CacheAdmin], Awaitable[Result]]) -> Result:
    """Run `work` on the state and the results, and close both. Raises ClickException."""

    async def run(database: Database) -> Result:
        results = open_results(settings)
        try:
            return await work(CacheAdmin(settings, database, results))
        finally:
            await results.close()

    try:
        return with_database(settings, run)
    except StoreUnavailable as error:
        raise click.ClickException(str(error)) from None
