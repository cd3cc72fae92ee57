"""A price table's file: read as it is meant, or refused with the place of the fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.pricing.price_file import BadPriceFile, load_prices, parse_prices
from gateway.pricing.rules.image_tokens import ImageTokens
from gateway.pricing.rules.price_table import PicturePrice, TokenRates

HEAD = 'version = "1"\n[tokens.t]\nby_size.low = { s = 10 }\n'
DATED = '[[price]]\nmodels = ["m"]\nvalid_from = 2026-11-01\n'
FLAT = f"{DATED}picture = [{{ usd = 1 }}]\n"


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


def test_upper_and_lower_case_are_one() -> None:
    names = "by_size.LOW = { 1K = 10, 4K = 20 }\n[tokens.grid]\ngrid.LOW = 16\n"
    picture = f'{DATED}picture = [{{ usd = 0.19, quality = "HD", size = "1K" }}]\n'
    other = DATED.replace('"m"', '"m2"')
    by_tokens = f'{other}tokens = "t"\ntext_in = 1\nimage_out = 1\n'
    prices = parse_prices(f'version = "1"\n[tokens.t]\n{names}{picture}{by_tokens}').prices
    assert prices["m"][0].pictures == (PicturePrice(190_000_000, "hd", "1k"),)
    assert prices["m2"][0].tokens == ImageTokens(by_size={"low": {"1k": 10, "4k": 20}})


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(f"{HEAD}{FLAT}", "utf-8-sig")
    assert load_prices(str(file)).version == "1"


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
        ('version = "1"\ntokens = 3\n', "[tokens]: must be a table"),
        ('version = "1"\nprice = 5\n', "[[price]]: must be a list of tables"),
        ('version = "1"\nprice = [5]\n', "[[price]] 1: must be a table"),
        ('version = "1"\n[tokens.t]\nby_size = 5\n', "[tokens.t] by_size: must be a table"),
        ('version = "1"\n[tokens.t]\nby_size.low = 5\n', "by_size.low: must be a table"),
        ('version = "1"\n[tokens.t]\ngrid = 5\n', "[tokens.t] grid: must be a table"),
        ('version = "1"\n[tokens.t]\ngrid = { a = 1, A = 1 }\n', "a name stands twice"),
        (f"{HEAD}{DATED}picture = 5\n", "picture: must be a list of tables"),
        (f"{HEAD}{DATED}picture = [5]\n", "picture: must be a table"),
        (f"{HEAD}{DATED}picture = [{{ usd = 1, size = 3 }}]\n", "give quality and size as text"),
        (
            f"{HEAD}{DATED}picture = [{{ usd = 1, size = 'a' }}, {{ usd = 2, size = 'A' }}]\n",
            "two prices of quality '' and size 'a'",
        ),
        (f"{HEAD}{DATED}tokens = ['t']\ntext_in = 1\nimage_out = 1\n", "no [tokens.['t']]"),
        (f"{HEAD}{FLAT}{FLAT}", "two prices of m from 2026-11-01: leave one out"),
        (f"x = {'[' * 3000}", "not valid TOML"),
        (f"x = {'9' * 5000}", "not valid TOML"),
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
