"""`gateway prices show`."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import asdict

import click

from gateway.cli import completion
from gateway.cli.options import read_options, upstream_of
from gateway.cli.output import print_json, print_rows
from gateway.cli.state_access import prices_of
from gateway.database.clock import now_ms
from gateway.model.money import usd
from gateway.model.windows import day_of
from gateway.pricing.rules.ceilings import PriceCeilings, price_fields
from gateway.pricing.rules.image_tokens import USUAL, Asked
from gateway.pricing.rules.price_table import Price
from gateway.queries.models.pricing import usd_per_million_tokens
from gateway.queries.models.read_model import Json
from gateway.runtime.backends import routing_of
from gateway.settings import Settings
from gateway.upstream.rules.routing import Target
from gateway.wire.request_fields import MOST_IMAGES

_BASES = {
    "configured": 'from [models."{}"] price_ceiling_usd',
    "table": "from the price table",
    "default": "from the upstream's price_ceiling_usd, as the price table has no {}",
}

_defaulted = functools.partial(click.option, show_default=True)


def _word(_context: click.Context, _option: click.Parameter, text: str | None) -> str | None:
    if text and not re.fullmatch("[A-Za-z0-9._-]{1,64}", text):
        raise click.BadParameter(f"{text!r} is no name")
    return text


@click.command("show")
@click.argument("model", shell_complete=completion.MODELS)
@click.option(
    "--quality", default="", callback=_word, help="low, medium, high … (default: not chosen)."
)
@click.option("--size", default="", callback=_word, help="Such as 1024x1024 (default: not chosen).")
@_defaulted("--n", default=1, type=click.IntRange(1, MOST_IMAGES), help="Number of pictures.")
@_defaulted(
    "--references", default=USUAL.files, type=click.IntRange(0, 16), help="Files of the edit."
)
@_defaulted(
    "--input-fidelity", default="low", type=click.Choice(["low", "high"]), help="Of the files."
)
@_defaulted("--partial-images", default=0, type=click.IntRange(0, 3), help="Partial pictures.")
@_defaulted(
    "--prompt-bytes",
    default=USUAL.prompt_bytes,
    type=click.IntRange(0),
    help="Length of the prompt.",
)
@click.option(
    "--upstream",
    callback=_word,
    shell_complete=completion.UPSTREAMS,
    help="Name of the upstream (default: the only one).",
)
@read_options
def show(
    settings: Settings,
    as_json: bool,
    model: str,
    quality: str,
    size: str,
    n: int,
    references: int,
    input_fidelity: str,
    partial_images: int,
    prompt_bytes: int,
    upstream: str | None,
) -> None:
    """Show the price of a model, and what an edit costs and is reserved at.

    MODEL is a model, an alias, or a target such as azure/img-prod; of several targets the first is
    shown. A quality or size that is not chosen, or that the table doesn't have, counts as the
    dearest. The reservation is higher where such pictures have lately cost more than was reserved
    for them, or a higher price was confirmed.
    """
    chosen = price_fields([("quality", quality), ("size", size)])
    asked = Asked(
        **chosen,
        prompt_bytes=prompt_bytes,
        files=references,
        high_fidelity=input_fidelity == "high",
        partial_images=partial_images,
    )
    target, *others = _targets(settings, model, upstream)
    facts = _facts(prices_of(settings), target, asked, n, day_of(now_ms(), settings.zone))
    facts["other_targets"] = list(map(str, others))
    if as_json:
        print_json(facts)
    else:
        _print(facts)


def _targets(settings: Settings, asked: str, upstream: str | None) -> Sequence[Target]:
    """The target that is meant, and the further ones of its model."""
    routing = routing_of(settings)
    model = routing.aliases.get(asked, asked)
    before, slash, name = model.partition("/")
    if model not in routing.routes and slash and before in settings.every_upstream:
        return [routing.target(before, name)]
    targets = routing.routes[model].targets if model in routing.routes else ()
    if upstream is None and targets:
        return targets
    at = upstream_of(settings, upstream)
    return [next((each for each in targets if each.upstream == at), routing.target(at, model))]


def _facts(ceilings: PriceCeilings, target: Target, asked: Asked, n: int, day: str) -> Json:
    upstream, model = target.upstream, target.model
    price = ceilings.table.price_of(upstream, model, day)
    ceiling = ceilings.of(upstream, model, asked, day)
    return {
        "upstream": upstream,
        "model": model,
        "target": str(target),
        "price_version": ceilings.table.version if price else None,
        "valid_from": price.valid_from if price else None,
        "source": price.source if price else None,
        "usd_per_million_tokens": usd_per_million_tokens(price),
        "most_tokens_of_a_picture": _tokens(price, asked),
        "pictures": n,
        "most_usd": _most(price, asked, n),
        "reserved_usd": usd(ceiling.nanos * n),
        "reserved_by": ceiling.basis,
    }


def _tokens(price: Price | None, asked: Asked) -> dict[str, int] | None:
    return asdict(price.tokens.most(asked)) if price and price.tokens else None


def _most(price: Price | None, asked: Asked, n: int) -> str | None:
    most = price.most_nanos(asked) if price else None
    return None if most is None else usd(most * n)


def _print(facts: Json) -> None:
    name = f"{facts['model']} at {facts['upstream']}"
    if facts["price_version"] is None:
        click.echo(f"No price of {name} is known.")
    else:
        click.echo(
            f"{name}: prices of {facts['price_version']}, valid from {facts['valid_from']}, "
            f"{facts['source']}"
        )
    if rates := facts["usd_per_million_tokens"]:
        tokens = facts["most_tokens_of_a_picture"] or {}
        print_rows(
            [
                {
                    "kind": kind.replace("_", " "),
                    "usd_per_million": rate,
                    "most_tokens": tokens.get(kind),
                }
                for kind, rate in rates.items()
            ]
        )
    if most := facts["most_usd"]:
        pictures = "1 picture" if facts["pictures"] == 1 else f"{facts['pictures']} pictures"
        click.echo(f"An edit of {pictures} costs at most ${most}.")
    basis = _BASES[facts["reserved_by"]].format(facts["model"])
    click.echo(f"${facts['reserved_usd']} is reserved for it, {basis}.")
    for other in facts["other_targets"]:
        click.echo(f"It is also bought at {other}: gateway prices show {other}")
