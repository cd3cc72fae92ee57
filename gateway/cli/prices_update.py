"""`gateway prices update`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from importlib import metadata
from pathlib import Path
from typing import Any

import click

from gateway.cli.options import settings_option
from gateway.database.clock import now_ms
from gateway.model.money import usd
from gateway.model.windows import day_of
from gateway.pricing.price_file import BadPriceFile, parse_prices, shipped_text
from gateway.pricing.rules.price_table import RATE_NAMES, Price
from gateway.settings import Settings

_PROVIDERS = ("openai", "google")
_FAMILIES = (
    ("gpt-image-1-mini", "gpt-image-1-mini"), ("gpt-image-1.5", "gpt-image-1.5"),
    ("chatgpt-image-latest", "gpt-image-1.5"), ("gpt-image-1", "gpt-image-1"),
    ("gpt-image-2", "gpt-image-2"), ("gemini-2.5-", "gemini-2.5"), ("gemini-3", "gemini-3"),
)  # fmt: skip
"""How the name of a model begins, and its `[tokens]`; a model of no family is left out."""
_EVER = "2025-01-01"
"""Before the first model here. Most of the source's prices have no day from which they hold."""
_SOURCE_RATES = (
    ("text_in", "input_mtok"), ("cached_text_in", "cache_read_mtok"),
    ("image_in", "input_image_mtok"), ("cached_image_in", "cache_image_read_mtok"),
)  # fmt: skip
_VERSION = re.compile(r"^(version|source) = .*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """Rates of some models, in dollars for a million tokens; `valid_from` None is not known."""

    models: tuple[str, ...]
    family: str
    source: str
    valid_from: str | None
    rates: Mapping[str, Decimal]

    def text(self, valid_from: str) -> str:
        names = ", ".join(f'"{model}"' for model in self.models)
        head = (
            "[[price]]",
            f"models = [{names}]",
            f"valid_from = {valid_from}",
            f'source = "{self.source}"',
            f'tokens = "{self.family}"',
        )
        return "\n".join((*head, *(f"{name} = {rate:f}" for name, rate in self.rates.items())))


@click.command("update")
@click.option(
    "--output",
    default=None,
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write (default: [prices] file).",
)
@settings_option
def update(settings: Settings, output: Path | None) -> None:
    """Write the price table anew from genai-prices, and show what changes.

    Needs the extra `prices`. A rate that changed gets a new entry, valid from today; earlier
    entries stay, so that earlier calls keep their price.
    """
    target = output or (Path(settings.prices.file) if settings.prices.file else None)
    if target is None:
        raise click.UsageError("name the file to write: [prices] file, or --output FILE")
    entries, source = read_source()
    today = day_of(now_ms(), settings.zone)
    try:
        before = target.read_text("utf-8") if target.exists() else shipped_text()
        text, changes = updated(before, entries, source, today)
        if changes or not target.exists():
            _replace(target, text)
    except BadPriceFile as error:
        raise click.ClickException(f"{target}: {error}") from None
    except OSError as error:
        raise click.ClickException(f"{target}: {error.strerror}") from None
    for change in changes:
        click.echo(change)
    done = "is written: restart the gateway to use it" if changes else "has every price already"
    click.echo(f"{target} {done} ({source}).")


def _replace(target: Path, text: str) -> None:
    """Write the file anew: whoever reads it finds the whole table, the old one or the new one."""
    target = target.resolve()  # a link stays one
    new = target.with_name(f".{target.name}.new")
    try:
        new.write_text(text, "utf-8")
        if target.exists():
            new.chmod(target.stat().st_mode)
        new.replace(target)
    finally:
        new.unlink(missing_ok=True)


def updated(
    before: str, entries: Iterable[SourceEntry], source: str, today: str
) -> tuple[str, list[str]]:
    """The file's text with the entries that it lacks, and a line for each change."""
    table = parse_prices(before)
    head = before.partition("[[price]]")[0]
    added, changes = [], []
    for entry in entries:
        day = entry.valid_from or today
        new = parse_prices(f"{head}\n{entry.text(day)}\n").prices[entry.models[0]][0]
        earlier = {model: table.price_of("", model, day) for model in entry.models}
        lacking = tuple(
            model for model, price in earlier.items() if price is None or price.rates != new.rates
        )
        if not lacking:
            continue
        known = [price for model in lacking if (price := earlier[model])]
        for price in known:
            if price.valid_from == day:
                raise BadPriceFile(f"{price.model} has other rates from {day}: take them out first")
        if not entry.valid_from and not known:
            day = _EVER
        added.append(replace(entry, models=lacking).text(day))
        changes.append(_change(earlier[lacking[0]], replace(new, model=lacking[0], valid_from=day)))
    if not added:
        return before, []
    lines = {"version": f'version = "{today}"', "source": f'source = "{source}"'}
    text = _VERSION.sub(lambda found: lines[found[1]], before, count=2).rstrip()
    return "\n\n".join([text, *added]) + "\n", changes


def _change(before: Price | None, new: Price) -> str:
    rates = ", ".join(
        f"{name} ${usd(now)}" + (f" (was ${usd(was)})" if was not in (None, now) else "")
        for name in RATE_NAMES
        for now, was in [(getattr(new.rates, name), getattr(before and before.rates, name, None))]
    )
    return f"{new.model} from {new.valid_from}: {rates}"


def read_source() -> tuple[list[SourceEntry], str]:
    """The entries of genai-prices, and its version. Raises ClickException without the extra."""
    try:
        from genai_prices.data import providers
    except ImportError:
        raise click.ClickException(
            "this needs the extra `prices`: pip install 'image-edit-gateway[prices]'"
        ) from None
    entries = [
        entry
        for provider in providers
        if provider.id in _PROVIDERS
        for model in provider.models
        for entry in _entries_of(provider, model)
    ]
    return entries, f"genai-prices {metadata.version('genai-prices')}"


def _entries_of(provider: Any, model: Any) -> Iterator[SourceEntry]:
    """The entries of one model; of several with the same rates the first."""
    family = next((to for name, to in _FAMILIES if model.id.startswith(name)), None)
    if family is None or "image" not in model.id:
        return
    last: Mapping[str, Decimal] = {}
    prices = model.prices if isinstance(model.prices, list) else [model]
    for price in prices:
        rates = _rates(getattr(price, "prices", price))
        start = getattr(getattr(price, "constraint", None), "start_date", None)
        if rates != last:
            source = provider.pricing_urls[0]
            names = tuple(sorted({model.id, *_names(model.match)}))
            yield SourceEntry(names, family, source, start.isoformat() if start else None, rates)
        last = rates


def _names(match: Any) -> Iterator[str]:
    for clause in getattr(match, "or_", [match]):
        name = getattr(clause, "equals", None) or getattr(clause, "starts_with", None)
        if name:
            yield name


def _rates(price: Any) -> dict[str, Decimal]:
    """The rates of a price. Where it has one rate of output, that is the rate of pictures."""
    rates = {name: getattr(price, theirs) for name, theirs in _SOURCE_RATES}
    if price.output_image_mtok is None:
        rates["image_out"] = price.output_mtok
    else:
        rates |= {"text_out": price.output_mtok, "image_out": price.output_image_mtok}
    return {name: rate for name, rate in rates.items() if rate is not None}
