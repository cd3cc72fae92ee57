"""A price table as a TOML file: the one that ships, or one of the operator's own.

Amounts in the file are dollars: of a million tokens, or of one picture.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from importlib import resources
from itertools import groupby, pairwise
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
    token_rates,
)

SHIPPED = "prices.toml"
_TABLE = ("version", "source", "tokens", "price")
_PRICE = ("models", "valid_from", "source", "tokens", "picture", *RATE_NAMES)
_PICTURE = ("usd", "quality", "size")
_TOKENS = ("by_size", "grid", "reference", "reference_high", "partial", "text_out")


class BadPriceFile(Exception):
    """The file is no price table; the message names the entry and what is wrong in it."""


def load_prices(file: str = "") -> PriceTable:
    """The table of this file, or with "" the one that ships. Raises BadPriceFile."""
    name = file or "the price table that ships"
    try:
        return parse_prices(shipped_text() if not file else Path(file).read_text("utf-8-sig"))
    except OSError as error:
        raise BadPriceFile(f"{name}: can't be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise BadPriceFile(f"{name}: not valid TOML: {error}") from None
    except BadPriceFile as error:
        raise BadPriceFile(f"{name}: {error}") from None


def shipped_text() -> str:
    return resources.files("gateway.pricing").joinpath(SHIPPED).read_text("utf-8")


def parse_prices(text: str) -> PriceTable:
    """The table of a file's text. Raises BadPriceFile, and ValueError where it is no TOML."""
    document = tomllib.loads(text, parse_float=Decimal)
    _check_names("the file", document, _TABLE)
    tokens = {
        name: _tokens(f"[tokens.{name}]", family)
        for name, family in _table("[tokens]", document.get("tokens", {})).items()
    }
    prices = [
        price
        for number, entry in enumerate(_list("[[price]]", document.get("price", [])), 1)
        for price in _prices(f"[[price]] {number}", entry, tokens)
    ]
    prices.sort(key=lambda price: (price.model, price.valid_from))
    for one, other in pairwise(prices):
        if (one.model, one.valid_from) == (other.model, other.valid_from):
            raise BadPriceFile(f"two prices of {one.model} from {one.valid_from}: leave one out")
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
        quality: _counts(f"{where} by_size.{quality}", sizes)
        for quality, sizes in _lower(f"{where} by_size", family.get("by_size", {})).items()
    }
    grid = _counts(f"{where} grid", family.get("grid", {}))
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
    if family is not None and not (isinstance(family, str) and family in families):
        raise BadPriceFile(f"{where}: tokens: no [tokens.{family}] in the file")
    rates, pictures = _rates(where, entry), _pictures(where, entry.get("picture", []))
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
    try:
        return token_rates(given)
    except ValueError as error:
        raise BadPriceFile(f"{where}: {error}") from None


def _pictures(where: str, entries: object) -> tuple[PicturePrice, ...]:
    where = f"{where} picture"
    found = {}
    for entry in _list(where, entries):
        _check_names(where, entry, _PICTURE)
        nanos = _nanos(where, "usd", entry.get("usd"))
        names = (entry.get("quality", ""), entry.get("size", ""))
        if not all(isinstance(name, str) for name in names):
            raise BadPriceFile(f"{where}: give quality and size as text")
        quality, size = map(str.lower, names)
        if (quality, size) in found:
            raise BadPriceFile(f"{where}: two prices of quality {quality!r} and size {size!r}")
        found[quality, size] = PicturePrice(nanos, quality, size)
    return tuple(found.values())


def _nanos(where: str, name: str, value: object) -> int:
    nanos = nanos_of(value)
    if nanos is None:
        raise BadPriceFile(f"{where}: {name}: give an amount in dollars such as 5 or 0.04")
    return nanos


def _count(where: str, name: str, value: object) -> int:
    if type(value) is not int or not 0 <= value <= 10_000_000:
        raise BadPriceFile(f"{where}: {name}: give a number of tokens")
    return value


def _counts(where: str, value: object) -> dict[str, int]:
    return {name: _count(where, name, most) for name, most in _lower(where, value).items()}


def _lower(where: str, value: object) -> dict[str, Any]:
    """A table with its names in lower case."""
    lowered = {name.lower(): item for name, item in _table(where, value).items()}
    if len(lowered) < len(_table(where, value)):
        raise BadPriceFile(f"{where}: a name stands twice; upper and lower case are one")
    return lowered


def _table(where: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadPriceFile(f"{where}: must be a table")
    return value


def _list(where: str, value: object) -> list[Any]:
    if not isinstance(value, list):
        raise BadPriceFile(f"{where}: must be a list of tables")
    return value


def _text(where: str, table: Mapping[str, Any], name: str) -> str:
    value = table.get(name)
    if not isinstance(value, str) or not value:
        raise BadPriceFile(f"{where}: {name} is missing")
    return value


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _check_names(where: str, table: Any, known: Iterable[str]) -> None:
    for name in _table(where, table).keys() - set(known):
        raise BadPriceFile(f"{where}: no setting {name!r}. {did_you_mean(name, list(known))}")
