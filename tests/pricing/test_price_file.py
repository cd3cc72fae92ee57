"""A price table's file: read as it is meant, or refused with the place of the fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.pricing.price_file import BadPriceFile, load_prices, parse_prices
from gateway.pricing.rules.price_table import PicturePrice, TokenRates

HEAD = 'version = "1"\n[tokens.t]\nby_size.low = { s = 10 }\n'
DATED = '[[price]]\nmodels = ["m"]\nvalid_from = 2026-11-01\n'


def test_the_table_that_ships_has_every_model_with_its_tokens() -> None:
    table = load_prices()
    assert table.version
    assert {"gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5", "gpt-image-2"} < table.prices.keys()
    assert {"gpt-image-2.5-flare", "chatgpt-image-latest"} < table.prices.keys()
    assert {"gemini-2.5-flash-image", "gemini-3-pro-image"} < table.prices.keys()
    for prices in table.prices.values():
        assert all(price.tokens and price.source and price.rates for price in prices)


def test_a_missing_rate_is_the_one_that_it_is_a_part_of() -> None:
    (price,) = parse_prices(f"{HEAD}{DATED}text_in = 2\nimage_out = 30.5\n").prices["m"]
    assert price.rates == TokenRates(
        *(2_000_000_000, 2_000_000_000, 2_000_000_000, 2_000_000_000),
        *(30_500_000_000, 30_500_000_000),
    )


def test_pictures_may_have_a_price_instead() -> None:
    text = f'{HEAD}{DATED}picture = [{{ usd = 0.04, quality = "low" }}, {{ usd = "0.1" }}]\n'
    (price,) = parse_prices(text).prices["m"]
    assert price.pictures == (PicturePrice(40_000_000, "low"), PicturePrice(100_000_000))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "version is missing"),
        (f"{HEAD}[[price]]\n", "give models as a list"),
        (f"{HEAD}[[price]]\nmodels = ['m']\n", "[[price]] 1 (m): give valid_from as a day"),
        (f"{HEAD}{DATED}", "either text_in and image_out, or prices by picture"),
        (f"{HEAD}{DATED}text_in = 1\n", "rates need at least text_in and image_out"),
        (f"{HEAD}{DATED}text_in = -1\nimage_out = 1\n", "text_in: give an amount in dollars"),
        (f"{HEAD}{DATED}text_inn = 1\n", "Did you mean 'text_in'?"),
        (f"{HEAD}{DATED}tokens = 'x'\ntext_in = 1\nimage_out = 1\n", "no [tokens.x] in the file"),
        ('version = "1"\n[tokens.t]\n', "[tokens.t]: give by_size or grid"),
        ('version = "1"\n[tokens.t]\ngrid.low = -1\n', "low: give a number of tokens"),
        ("version =", "not valid TOML"),
    ],
)
def test_a_fault_is_one_line_that_names_its_place(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(text)
    with pytest.raises(BadPriceFile) as refused:
        load_prices(str(file))
    message = str(refused.value)
    assert message.startswith(f"{file}: ")
    assert says in message
    assert "\n" not in message


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadPriceFile, match="can't be read: No such file"):
        load_prices(str(tmp_path / "none.toml"))
