"""A price table as a TOML file: the one that ships, or one of the operator's own.

Amounts in the file are dollars: of a million tokens, or of one picture.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from importlib import resources
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

from gateway.model.money import nanos_of
from gateway.model.suggestions import did_you_mean
from gateway.pricing.rules.image_tokens import ImageTokens
from gateway.pricing.rules.price_table import (
    RATE_NAMES,
    PicturePrice,
    Price,
    PriceTable,
    TokenRates,
)

SHIPPED = "prices.toml"
_TABLE = ("version", "source", "tokens", "price")
_PRICE = ("models", "valid_from", "source", "tokens", "picture", *RATE_NAMES)
_PICTURE = ("usd", "quality", "size")
_TOKENS = ("by_size", "grid", "reference", "reference_high", "partial", "text_out")
_INSTEAD = {
    "image_in": "text_in", "cached_text_in": "text_in", "cached_image_in": "image_in",
    "text_out": "image_out",
}  # fmt: skip
"""The rate that counts where a model has none of its own: never a lower one by guess."""


class BadPriceFile(Exception):
    """The file is no price table; the message names the entry and what is wrong in it."""


def load_prices(file: str = "") -> PriceTable:
    """The table of this file, or with "" the one that ships. Raises BadPriceFile."""
    name = file or "the price table that ships"
    try:
        return parse_prices(shipped_text() if not file else Path(file).read_text("utf-8"))
    except OSError as error:
        raise BadPriceFile(f"{name}: can't be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadPriceFile(f"{name}: not valid TOML: {error}") from None
    except BadPriceFile as error:
        raise BadPriceFile(f"{name}: {error}") from None


def shipped_text() -> str:
    return resources.files("gateway.pricing").joinpath(SHIPPED).read_text("utf-8")


def parse_prices(text: str) -> PriceTable:
    """The table of a file's text. Raises BadPriceFile and TOMLDecodeError."""
    document = tomllib.loads(text, parse_float=Decimal)
    _check_names("the file", document, _TABLE)
    tokens = {
        name: _tokens(f"[tokens.{name}]", family)
        for name, family in document.get("tokens", {}).items()
    }
    prices = [
        price
        for number, entry in enumerate(document.get("price", ()), 1)
        for price in _prices(f"[[price]] {number}", entry, tokens)
    ]
    prices.sort(key=lambda price: (price.model, price.valid_from))
    return PriceTable(
        version=_text("the file", document, "version"),
        source=str(document.get("source", "")),
        prices={model: tuple(entries) for model, entries in groupby(prices, attrgetter("model"))},
    )


def _tokens(where: str, family: Any) -> ImageTokens:
    _check_names(where, family, _TOKENS)
    counts = {
        name: _count(where, name, family.get(name, 0))
        for name in ("reference", "reference_high", "partial", "text_out")
    }
    by_size = {
        quality: {size: _count(where, size, most) for size, most in sizes.items()}
        for quality, sizes in family.get("by_size", {}).items()
    }
    grid = {
        quality: _count(where, quality, side) for quality, side in family.get("grid", {}).items()
    }
    if bool(by_size) == bool(grid) or not all(by_size.values()):
        raise BadPriceFile(f"{where}: give by_size or grid")
    return ImageTokens(by_size=by_size, grid=grid, **counts)


def _prices(where: str, entry: Any, families: Mapping[str, ImageTokens]) -> list[Price]:
    """The price of each model of one entry."""
    _check_names(where, entry, _PRICE)
    models = entry.get("models")
    if not isinstance(models, list) or not models or not all(map(_is_name, models)):
        raise BadPriceFile(f'{where}: give models as a list such as ["gpt-image-1"]')
    where = f"{where} ({models[0]})"
    valid_from = entry.get("valid_from")
    if type(valid_from) is not date:
        raise BadPriceFile(f"{where}: give valid_from as a day such as 2026-11-01")
    family = entry.get("tokens")
    if family is not None and family not in families:
        raise BadPriceFile(f"{where}: no [tokens.{family}] in the file")
    rates, pictures = _rates(where, entry), _pictures(where, entry.get("picture", ()))
    if bool(rates) == bool(pictures):
        raise BadPriceFile(f"{where}: give either text_in and image_out, or prices by picture")
    return [
        Price(
            model=model,
            valid_from=valid_from.isoformat(),
            source=str(entry.get("source", "")),
            rates=rates,
            tokens=families[family] if family else None,
            pictures=pictures,
        )
        for model in models
    ]


def _rates(where: str, entry: Mapping[str, Any]) -> TokenRates | None:
    given = {name: _nanos(where, name, entry[name]) for name in RATE_NAMES if name in entry}
    if not given:
        return None
    if not {"text_in", "image_out"} <= given.keys():
        raise BadPriceFile(f"{where}: rates need at least text_in and image_out")
    for name, instead in _INSTEAD.items():
        given.setdefault(name, given[instead])
    return TokenRates(**given)


def _pictures(where: str, entries: Iterable[Any]) -> tuple[PicturePrice, ...]:
    found = []
    for entry in entries:
        _check_names(f"{where} picture", entry, _PICTURE)
        nanos = _nanos(where, "usd", entry.get("usd"))
        found.append(PicturePrice(nanos, str(entry.get("quality", "")), str(entry.get("size", ""))))
    return tuple(found)


def _nanos(where: str, name: str, value: object) -> int:
    nanos = nanos_of(value)
    if nanos is None:
        raise BadPriceFile(f"{where}: {name}: give an amount in dollars such as 5 or 0.04")
    return nanos


def _count(where: str, name: str, value: object) -> int:
    if type(value) is not int or not 0 <= value <= 10_000_000:
        raise BadPriceFile(f"{where}: {name}: give a number of tokens")
    return value


def _text(where: str, table: Mapping[str, Any], name: str) -> str:
    value = table.get(name)
    if not isinstance(value, str) or not value:
        raise BadPriceFile(f"{where}: {name} is missing")
    return value


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _check_names(where: str, table: Any, known: Iterable[str]) -> None:
    if not isinstance(table, dict):
        raise BadPriceFile(f"{where}: must be a table")
    for name in table.keys() - set(known):
        raise BadPriceFile(f"{where}: no setting {name!r}. {did_you_mean(name, list(known))}")
