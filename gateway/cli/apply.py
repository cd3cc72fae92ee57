"""`gateway apply FILE`."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import click

from gateway.accounts.rules.errors import BadValue
from gateway.accounts.rules.organisation_file import OrganisationFile, parse_organisation_file
from gateway.accounts.tables import apply as applying
from gateway.accounts.tables.apply import Applied, DryRun, Step
from gateway.accounts.tables.audit import Author
from gateway.accounts.tables.keys import NewKey
from gateway.cli.options import change_options, yes_option
from gateway.cli.output import change_text, confirm, print_json, value_text
from gateway.cli.state_access import change_state
from gateway.queries.models.accounts import key_view
from gateway.settings import Settings, SettingsError, read_toml

_MARKS = {"create": "+", "change": "~", "revoke": "-", "archive": "-"}


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only print the changes.")
@click.option(
    "--prune",
    is_flag=True,
    help="Archive teams, revoke keys and unset settings that the file doesn't name.",
)
@yes_option
@change_options
def apply(
    settings: Settings,
    file: Path,
    dry_run: bool,
    prune: bool,
    yes: bool,
    by: Author,
    as_json: bool,
) -> None:
    """Make the organisation, its teams and their keys match FILE, all or nothing.

    Changes what FILE names and leaves the rest alone; with --prune, ends the rest. Secrets of new
    keys are shown only once. config/organisation.example.toml is an example.
    """
    by = dataclasses.replace(by, actor=by.actor.replace("cli:", "apply:", 1))
    match = functools.partial(
        applying.apply, wanted=_read(file), by=by, defaults=settings.new_team, prune=prune
    )
    steps = _plan(settings, match)
    if not as_json:
        _print_plan(file, steps)
    made: Sequence[NewKey] = ()
    if steps and not dry_run:
        _confirm(steps, file, yes=yes, shown=not as_json)
        made = change_state(settings, functools.partial(match, planned=steps)).made
    if as_json:
        _print_json(steps, made, applied=not dry_run)
    elif steps:
        _print_done(steps, made, dry_run)


def _read(file: Path) -> OrganisationFile:
    try:
        return parse_organisation_file(read_toml(file))
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
    except BadValue as error:
        lines = [f"{file}: {line}" for line in error.message.splitlines()]
        raise click.ClickException("\n".join(lines)) from None


def _plan(settings: Settings, match: Callable[..., Awaitable[Applied]]) -> tuple[Step, ...]:
    """The changes. They are made and rolled back, so that errors appear here."""
    try:
        return change_state(settings, functools.partial(match, dry_run=True)).steps
    except DryRun as done:
        return done.steps
    except click.UsageError as error:  # of the file, not of the command
        raise click.ClickException(error.message) from None


def _confirm(steps: Sequence[Step], file: Path, *, yes: bool, shown: bool) -> None:
    """Ask before a team or a key ends."""
    ending = [step for step in steps if step.action in ("archive", "revoke")]
    if ending:
        noun = "team or key ends" if len(ending) == 1 else "teams and keys end"
        show_plan = None if shown else functools.partial(_print_plan, file, steps, err=True)
        confirm(f"{len(ending)} {noun} for good. Go on?", yes=yes, show_plan=show_plan)


# --- printing -------------------------------------------------------------------------


def _print_plan(file: Path, steps: Sequence[Step], *, err: bool = False) -> None:
    if not steps:
        click.echo(f"Nothing to change: the state matches {file}.", err=err)
        return
    width = max(len(step.subject) for step in steps)
    for step in steps:
        mark = _MARKS[step.action]
        click.echo(f"  {mark} {step.subject:<{width}}  {_step_text(step)}".rstrip(), err=err)


def _step_text(step: Step) -> str:
    if step.action == "revoke":
        return "revoked"
    if step.action == "archive":
        names = step.new["keys"]
        ended = ", ".join(names) if isinstance(names, list) else ""
        return "archived" + (f"; its keys end: {ended}" if ended else "")
    if step.action == "create":
        values = ", ".join(f"{name} {value_text(value)}" for name, value in step.new.items())
        return f"new: {values}" if values else "new"
    return change_text(step.old, step.new)


def _print_done(steps: Sequence[Step], made: Sequence[NewKey], dry_run: bool) -> None:
    count = f"{len(steps)} change{'' if len(steps) == 1 else 's'}"
    if dry_run:
        click.echo(f"\n{count}, not made: this was a dry run.")
        return
    click.echo(f"\n{count} made, in force within a second.")
    if made:
        click.echo("\nThe secrets of the new keys. Keep them now: they are shown only once.\n")
    names = [f"{each.key.team}/{each.key.name}" for each in made]
    width = max(map(len, names), default=0)
    for name, each in zip(names, made, strict=True):
        click.echo(f"    {name:<{width}}  {each.key.id}  {each.secret}")


def _print_json(steps: Sequence[Step], made: Sequence[NewKey], *, applied: bool) -> None:
    changes = [dataclasses.asdict(step) for step in steps]
    keys = [key_view(each.key, each.secret).row() for each in made]
    print_json({"applied": applied and bool(steps), "changes": changes, "keys": keys})
