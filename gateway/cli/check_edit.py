"""`gateway check --try-edit`: one smallest edit, bought and booked as a key's."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click

from gateway.accounts.rules.errors import AccountError
from gateway.accounts.tables import keys
from gateway.cli.options import EVERY
from gateway.cli.output import working
from gateway.database.database import StateUnavailable, Transaction
from gateway.model.errors import Refusal
from gateway.model.money import usd
from gateway.queries.models.request_status import RequestView
from gateway.runtime.container import Container
from gateway.runtime.lifespan import running
from gateway.runtime.trial_edit import TrialEdit, make_trial, plan_trial
from gateway.settings import Settings, SettingsError
from gateway.telemetry.log import EventLog

Result = TypeVar("Result")
_SHOWN_KEYS = 5


class NotMade(Exception):
    """No edit was made, or it failed; the message says why, and what is booked."""


def try_edit(
    settings: Settings,
    key: str | None,
    model: str | None,
    say: Callable[[str], None],
    *,
    yes: bool,
) -> None:
    """Make one edit after its price was confirmed, and say what it cost. Raises NotMade."""
    trial = _with_gateway(settings, lambda parts: _planned(parts, key, model))
    say(_offer(trial))
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("--try-edit buys this edit: confirm it with --yes")
        if not click.confirm("Buy it?", err=True):
            say("not made")
            return
    with working("editing"):
        tried = _with_gateway(settings, lambda parts: make_trial(parts, trial))
    booked = _booked(tried.status)
    if tried.refusal:
        raise NotMade(f"{tried.refusal.code}: {tried.refusal.message} {booked}")
    say(f"a picture from {tried.status.upstream} in {tried.seconds:.1f} s. {booked}")


async def _planned(parts: Container, key: str | None, model: str | None) -> TrialEdit:
    key_id = await parts.context.database.read(lambda tx: _paying_key(tx, key))
    return await plan_trial(parts, key_id, model)


async def _paying_key(tx: Transaction, key: str | None) -> str:
    if key is not None:
        return (await keys.show_key(tx, key)).id
    found = await keys.list_keys(tx, limit=EVERY)
    if len(found) == 1:
        return found[0].id
    names = ", ".join(f"{each.team}/{each.name}" for each in found[:_SHOWN_KEYS])
    more = ", …" if len(found) > _SHOWN_KEYS else ""
    raise NotMade(
        f"name the key that pays with --key: {names}{more}"
        if found
        else "there is no key that could pay: gateway keys create"
    )


def _offer(trial: TrialEdit) -> str:
    chosen = "".join(f", {name} {value}" for name, value in trial.choices.items())
    caller, targets = trial.caller, ", else ".join(trial.ceilings)
    return (
        f"one edit of {trial.model} at {targets}{chosen}: at most "
        f"${usd(max(trial.ceilings.values()))}, paid by the key {caller.team}/{caller.key_name}"
    )


def _booked(status: RequestView) -> str:
    if not status.cost_kind:
        return f"Nothing is booked for {status.id}."
    return f"Booked for {status.id}: ${status.cost_usd} ({status.cost_kind})."


def _with_gateway(settings: Settings, work: Callable[[Container], Awaitable[Result]]) -> Result:
    """Run `work` on a gateway that shares the state and serves nobody. Raises NotMade."""

    async def run() -> Result:
        parts = Container(settings, EventLog(level="error"))
        async with running(parts):
            return await work(parts)

    try:
        return asyncio.run(run())
    except Refusal as refusal:
        raise NotMade(f"{refusal.code}: {refusal.message}") from None
    except (AccountError, SettingsError, StateUnavailable) as error:
        raise NotMade(str(error)) from None
