"""`gateway prices`."""

from __future__ import annotations

import click

from gateway.accounts.tables.audit import Author
from gateway.cli import LazyCommands, completion
from gateway.cli.options import change_options, upstream_of
from gateway.cli.output import print_json
from gateway.cli.state_access import by_clock, change_state
from gateway.ledger.tables import price_status
from gateway.model.money import nanos_of, usd
from gateway.model.windows import day_of
from gateway.queries.models.ledger import PriceView
from gateway.settings import Settings


@click.group(cls=LazyCommands, modules={"show": "prices_show", "update": "prices_update"})
def prices() -> None:
    """The prices of models."""


@prices.command("confirm")
@click.argument("model", shell_complete=completion.MODELS)
@click.option("--price-usd", default=None, help="Price of one picture (default: as last seen).")
@click.option(
    "--upstream",
    default=None,
    shell_complete=completion.UPSTREAMS,
    help="Name of the upstream (default: the only one).",
)
@change_options
def confirm(
    settings: Settings,
    as_json: bool,
    model: str,
    price_usd: str | None,
    upstream: str | None,
    by: Author,
) -> None:
    """Confirm the price of a model.

    Calls of a model that was stopped for an odd price are made again, and those of a model whose
    price is not known are made side by side.
    """
    nanos = None if price_usd is None else nanos_of(price_usd)
    if price_usd is not None and nanos is None:
        raise click.BadParameter(
            "give an amount in dollars, such as 0.04", param_hint="--price-usd"
        )
    by, name = by_clock(settings, by), upstream_of(settings, upstream)
    try:
        confirmed = change_state(
            settings,
            lambda tx: price_status.confirm(
                tx, name, model, nanos, today=day_of(by.now_ms, settings.zone), by=by
            ),
        )
    except (price_status.NoPrice, ValueError) as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        print_json(PriceView.of_confirmed(name, model, confirmed).row())
    else:
        click.echo(f"The price of {model} at {name} is ${usd(confirmed)} a picture.")
