"""`gateway budgets`, and the budgets in listings of accounts."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from datetime import tzinfo
from typing import TypeVar

import click

from gateway.accounts.tables import accounts, grants
from gateway.accounts.tables.accounts import AccountRecord
from gateway.accounts.tables.audit import Author
from gateway.accounts.tables.grants import GrantRecord
from gateway.cli import completion
from gateway.cli.options import (
    ListedPart,
    change_options,
    day_given,
    listing_options,
    team_option,
)
from gateway.cli.output import print_record, print_rows
from gateway.cli.state_access import by_clock, change_state, read_state, with_database
from gateway.database.database import Database, Operation, Transaction
from gateway.model.money import nanos_of, usd
from gateway.queries.budgets import budget_views
from gateway.queries.csv_table import CsvStyle
from gateway.queries.models.budgets import BudgetView, GrantView
from gateway.queries.models.read_model import Json
from gateway.settings import Settings

FIGURES = (
    "granted_usd", "spent_usd", "held_usd", "left_usd", "forecast_usd", "needed_usd", "resets_at",
    "refused_today",
)  # fmt: skip
_GRANT_COLUMNS = (
    "id", "budget", "status", "usd", "until", "reason", "asked_by", "asked_at", "granted_by",
    "granted_at", "ended_at",
)  # fmt: skip
Budgets = Mapping[str, BudgetView]
Item = TypeVar("Item")


@click.group()
def budgets() -> None:
    """Budgets, and the grants that raise them."""


@budgets.command("list")
@team_option
@click.option("--grants", "lists_grants", is_flag=True, help="List grants and open requests.")
@click.option("--ended", is_flag=True, help="With --grants, also those that have ended.")
@listing_options
def list_budgets(
    settings: Settings,
    as_json: bool,
    as_csv: CsvStyle | None,
    part: ListedPart,
    team: str | None,
    lists_grants: bool,
    ended: bool,
) -> None:
    """List every budget: spent, held, left, forecast, and the need of one more picture."""
    after, limit = part.after, part.fetch
    if lists_grants:
        list_page = functools.partial(grants.list_grants, team=team, after=after, limit=limit)
        found = read_state(settings, lambda tx: list_page(tx, ended=ended))
        rows = [GrantView.of(each).row() for each in part.shown(found, lambda each: each.id)]
        columns, empty = _GRANT_COLUMNS, "No grant and no request."
        kept: tuple[str, ...] = ("id", "budget", "status", "usd")
    else:
        find = functools.partial(accounts.list_budgets, team=team, after=after, limit=limit)
        records, views = with_budgets(settings, find, lambda each: each)
        shown = part.shown(records, lambda each: each.id)
        rows = [views[each.id].row() for each in shown]
        columns, empty = ("name", "period", "limit_usd", *FIGURES), "No budget yet."
        kept = ("name", "limit_usd", "spent_usd", "left_usd")
    print_rows(
        rows, as_json=as_json, as_csv=as_csv, columns=columns, kept=kept, empty=part.empty(empty)
    )


@budgets.command("grant")
@click.argument("budget", required=False, shell_complete=completion.ACCOUNTS)
@click.option("--request", "request_id", default=None, help="Id of a request, instead of BUDGET.")
@click.option("--usd", "amount", default=None, help="Dollars (default: as asked for).")
@click.option(
    "--until", default=None, help="Last day (default, and at the latest: that of the window)."
)
@change_options
def grant(
    settings: Settings,
    as_json: bool,
    budget: str | None,
    request_id: str | None,
    amount: str | None,
    until: str | None,
    by: Author,
) -> None:
    """Raise a budget in its current window.

    BUDGET is organisation, TEAM or TEAM/KEY. The grant ends with the window, or after --until.
    """
    if (budget is None) == (request_id is None):
        raise click.UsageError("give a BUDGET such as design, or --request with an id")
    if budget is not None and amount is None:
        raise click.UsageError("give --usd, the dollars to add to the budget")
    nanos = None if amount is None else nanos_of(amount)
    if amount is not None and not nanos:
        raise click.BadParameter("give an amount in dollars, such as 20", param_hint="--usd")
    until_day, by = day_given(until), by_clock(settings, by)
    made = change_state(
        settings, _granting(budget, request_id, nanos, until_day, by, settings.zone)
    )
    if as_json:
        print_record(GrantView.of(made).row(), as_json)
    else:
        ends = ", and no longer: its window ends" if made.cut else ""
        click.echo(
            f"The budget {made.budget} has ${usd(made.nanos)} more through {made.last_day}{ends}. "
            f"`gateway budgets revoke {made.id}` takes it back."
        )


def _granting(
    budget: str | None,
    request_id: str | None,
    nanos: int | None,
    until_day: str | None,
    by: Author,
    zone: tzinfo,
) -> Operation[GrantRecord]:
    async def make(tx: Transaction) -> GrantRecord:
        if request_id is not None:
            return await grants.grant_request(
                tx, request_id, by, zone, nanos=nanos, until_day=until_day
            )
        return await grants.grant(tx, budget or "", nanos or 0, until_day, by, zone)

    return make


@budgets.command("revoke")
@click.argument("grant_id", metavar="ID")
@change_options
def revoke(settings: Settings, as_json: bool, grant_id: str, by: Author) -> None:
    """End a grant, or decline a request."""
    by = by_clock(settings, by)
    ended = change_state(settings, lambda tx: grants.revoke_grant(tx, grant_id, by))
    if as_json:
        print_record(GrantView.of(ended).row(), as_json)
    else:
        noun = "request" if ended.status == "declined" else "grant"
        click.echo(f"The {noun} {ended.id} of ${usd(ended.nanos)} for {ended.budget} has ended.")


# --- budgets beside accounts ----------------------------------------------------------


def with_budgets(
    settings: Settings, find: Operation[Sequence[Item]], account: Callable[[Item], AccountRecord]
) -> tuple[Sequence[Item], Budgets]:
    """What is found, and the budgets of its accounts by the accounts' ids."""

    async def work(database: Database) -> tuple[Sequence[Item], Budgets]:
        now_ms = await database.clock_ms()

        async def read(tx: Transaction) -> tuple[Sequence[Item], Budgets]:
            found = await find(tx)
            return found, await budget_views(tx, [*map(account, found)], settings.zone, now_ms)

        return await database.read(read)

    return with_database(settings, work)


def beside(row: Json) -> Json:
    """A row of an account with the figures of its budget in columns of their own."""
    budget: Json = row.get("budget") or {}
    figures = {name: budget.get(name) for name in FIGURES}
    if figures["granted_usd"] == "0":
        figures["granted_usd"] = None
    return {name: value for name, value in row.items() if name != "budget"} | figures
