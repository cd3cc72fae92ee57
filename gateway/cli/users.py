"""`gateway users`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import click

from gateway.accounts.tables.audit import Author
from gateway.cli.options import change_options, read_options, team_option, yes_option
from gateway.cli.output import print_json, print_rows, progress_bar
from gateway.cli.state_access import by_clock, with_database
from gateway.database.database import Database
from gateway.queries.end_user_admin import EndUserAdmin
from gateway.queries.models.end_users import EndUserView, ForgottenUserView
from gateway.runtime.backends import open_answers, open_results
from gateway.settings import Settings

Result = TypeVar("Result")
_SPENDING = ("team", "key", "calls", "images", "spent_usd", "first_at", "last_at")
_RESULTS = ("fingerprint", "team", "model", "created_at", "bytes", "used_by_others")


@click.group()
def users() -> None:
    """End users: what is kept of a person, and forgetting one.

    USER is the name that requests send, or a name that `usage --by user` shows.
    """


@users.command("show")
@click.argument("user")
@team_option
@read_options
def show(settings: Settings, as_json: bool, user: str, team: str | None) -> None:
    """Show what is kept of an end user: calls, requests, stored results."""
    with progress_bar("looking") as report:
        found = _with_users(settings, lambda admin: admin.show(user, team, report))
    if as_json:
        print_json(found.row())
    else:
        _print_kept(found)


@users.command("forget")
@click.argument("user")
@team_option
@click.option("--dry-run", is_flag=True, help="Only print what would be deleted.")
@yes_option
@change_options
def forget(
    settings: Settings,
    as_json: bool,
    by: Author,
    user: str,
    team: str | None,
    dry_run: bool,
    yes: bool,
) -> None:
    """Delete the results that were bought for an end user, and take the name out of the books.

    Results that others used too are deleted as well, and listed. The money stays, under
    (forgotten). Safe to run again. Prints what it can't reach, such as backups.
    """
    by = by_clock(settings, by)

    def run(only_look: bool) -> ForgottenUserView:
        with progress_bar("looking" if only_look else "deleting") as report:
            return _with_users(
                settings, lambda admin: admin.forget(user, team, by, report, dry_run=only_look)
            )

    if not (dry_run or yes):
        _print_kept(run(True), err=True)
        _confirm()
    found = run(dry_run)
    if as_json:
        print_json(found.row())
        return
    if dry_run:
        _print_kept(found)
        click.echo("Nothing was changed.")
    else:
        click.echo(f"Forgotten: {found.results_deleted:,} results deleted.")
        _print_shared(found, err=False)
        if found.in_flight:
            click.echo(f"{found.in_flight:,} calls are in flight: run this again when they ended.")
    click.echo("Not reached:")
    for each in found.not_reached:
        click.echo(f"  - {each}")


def _confirm() -> None:
    try:
        click.confirm("Forget this end user?", abort=True, err=True)
    except click.Abort:
        raise click.ClickException("nothing was changed; --yes forgets without a prompt") from None


def _print_kept(found: EndUserView | ForgottenUserView, *, err: bool = False) -> None:
    shared = [each for each in found.results if each.used_by_others]
    click.echo(f"Kept as {' or '.join(found.names)}.", err=err)
    click.echo(
        f"{found.requests:,} single requests, {found.in_flight:,} calls in flight "
        f"(${found.held_usd} held), {len(found.results):,} stored results, {len(shared):,} of "
        "which others used too.",
        err=err,
    )
    if err:
        _print_shared(found, err=True)
        return
    print_rows(
        [each.row() for each in found.spending],
        columns=_SPENDING,
        empty="No call was paid for this user.",
    )
    if found.results:
        click.echo()
        print_rows([each.row() for each in found.results], columns=_RESULTS)


def _print_shared(found: EndUserView | ForgottenUserView, *, err: bool) -> None:
    """The results that others used too."""
    for each in found.results:
        if each.used_by_others:
            uses = f"{each.used_by_others:,} use{'s' * (each.used_by_others > 1)} by others"
            click.echo(f"  {each.fingerprint} (team {each.team}): {uses}", err=err)


def _with_users(settings: Settings, work: Callable[[EndUserAdmin], Awaitable[Result]]) -> Result:
    """Run `work` on the state and the results, and close both."""

    async def run(database: Database) -> Result:
        results, answers = open_results(settings), open_answers(settings, database)
        try:
            return await work(EndUserAdmin(settings, database, results, answers))
        finally:
            await results.close()
            await answers.close()

    return with_database(settings, run)
