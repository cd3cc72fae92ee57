"""Prices of targets: the model's, or what the settings say, to the nano-dollar."""

from __future__ import annotations

from dataclasses import astuple
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.reservation import PriceKey
from gateway.model.token_usage import TokenUsage
from gateway.pricing.price_file import load_prices
from gateway.pricing.rules.price_table import PicturePrice, Price, PriceTable, TokenRates
from gateway.pricing.rules.target_prices import BadTargetPrice, TargetPrice, price_targets

DAY = "2026-11-29"
GPT = "gpt-image-1"
USAGE = TokenUsage(text_in=23, image_in=1_500, image_out=4_160)


def table_of(**nanos_of_a_token: int) -> PriceTable:
    prices = {
        name.replace("__", "/"): (Price(name, DAY, "", TokenRates(*[nanos * 1_000_000] * 6)),)
        for name, nanos in nanos_of_a_token.items()
    }
    return PriceTable("1", prices=prices)


def cost(
    table: PriceTable, upstream: str, model: str, usage: TokenUsage = USAGE, day: str = DAY
) -> int | None:
    return table.cost_of(usage, PriceKey(upstream, model), 1, day)


def at_azure(own: TargetPrice, table: PriceTable | None = None) -> PriceTable:
    return price_targets(
        table or load_prices(), [("azure", "img-prod", GPT)], {"azure/img-prod": own}
    )


def test_a_target_is_priced_as_its_model_unless_the_table_has_a_price_of_its_own() -> None:
    table = table_of(m=1, azure__special=2, own=3)
    targets = [("openai", "m", "m"), ("azure", "special", "m"), ("xai", "own", "alias-of-own"),
               ("eu", "plain", "m")]  # fmt: skip
    priced, one = price_targets(table, targets, {}), TokenUsage(text_in=1)
    assert [cost(priced, each, "m", one) for each in ("openai", "azure", "eu")] == [1, 2, 1]
    assert cost(priced, "xai", "alias-of-own", one) == 3
    assert cost(priced, "azure", "unheard-of", one) is None
    assert priced.version == "1"


def test_a_discount_is_taken_from_every_rate_of_the_model_at_that_target_alone() -> None:
    table = at_azure(TargetPrice(discount_percent=Decimal("12.5")))
    assert cost(table, "openai", GPT) == 181_515_000
    assert cost(table, "azure", GPT) == 181_515_000 * 7 // 8
    (price,) = table.prices[f"azure/{GPT}"]
    assert price.source.endswith("/pricing, less 12.5 % ([prices.targets])")
    assert price.tokens == load_prices().prices[GPT][0].tokens


@given(st.integers(1, 10**7), st.integers(1, 999_999), st.integers(1, 10**12))
def test_a_discounted_rate_is_rounded_up_to_a_nano_dollar(
    tokens: int, discount_millionths: int, rate: int
) -> None:
    percent = Decimal(discount_millionths).scaleb(-4)
    own = TargetPrice(discount_percent=percent)
    (price,) = own.over([Price("m", DAY, "", TokenRates(*[rate] * 6))], "azure/m")
    exact_rate = Fraction(rate) * (1 - Fraction(percent) / 100)
    exact = exact_rate * tokens / 1_000_000
    assert price.rates
    assert all(exact_rate <= each < exact_rate + 1 for each in astuple(price.rates))
    assert exact <= price.rates.cost_nanos(TokenUsage(image_out=tokens)) < exact + tokens + 1


def test_a_discount_from_a_day_on_leaves_what_was_before() -> None:
    own = TargetPrice(discount_percent=Decimal(50), valid_from="2026-11-01")
    table = at_azure(own)
    assert cost(table, "azure", GPT, day="2026-10-31") == 181_515_000
    assert cost(table, "azure", GPT, day="2026-11-01") == 181_515_000 // 2


def test_a_discount_is_taken_from_later_prices_too() -> None:
    prices = [Price("m", day, "", TokenRates(*[rate] * 6)) for day, rate in
              (("2026-01-01", 10), ("2026-11-01", 20), ("2026-12-01", 40))]  # fmt: skip
    for valid_from, days in {
        "": ["2026-01-01", "2026-11-01", "2026-12-01"],
        "2026-11-01": ["2026-01-01", "2026-11-01", "2026-12-01"],
        "2026-11-15": ["2026-01-01", "2026-11-01", "2026-11-15", "2026-12-01"],
    }.items():
        own = TargetPrice(discount_percent=Decimal(10), valid_from=valid_from)
        found = own.over(prices, "azure/m")
        assert [each.valid_from for each in found] == days
        rates = {each.valid_from: each.rates.image_out for each in found if each.rates}
        assert (rates["2026-01-01"], rates["2026-12-01"]) == (10 if valid_from else 9, 36)


def test_rates_of_the_settings_go_before_the_models_and_the_others_stay() -> None:
    table = at_azure(TargetPrice(rates={"image_out": 30_000_000_000}))
    assert cost(table, "azure", GPT) == 23 * 5_000 + 1_500 * 10_000 + 4_160 * 30_000
    assert cost(table, "openai", GPT) == 181_515_000


def test_a_target_that_the_table_does_not_know_has_the_rates_of_the_settings() -> None:
    own = TargetPrice(rates={"text_in": 1_000_000, "image_out": 2_000_000})
    table = price_targets(PriceTable("1"), [], {"azure/img-prod": own})
    assert cost(table, "azure", "img-prod", TokenUsage(image_in=1, image_out=1)) == 3


def test_prices_by_picture_of_the_settings_go_before_the_models() -> None:
    own = TargetPrice(pictures=(PicturePrice(20_000_000, "low"), PicturePrice(80_000_000)))
    key = PriceKey("azure", GPT, "low", "1024x1024")
    assert at_azure(own).cost_of(None, key, 3, DAY) == 60_000_000


def test_a_discount_of_nothing_is_refused() -> None:
    with pytest.raises(BadTargetPrice, match=r'"azure/img-prod"\]: there is no price to take'):
        at_azure(TargetPrice(discount_percent=Decimal(1)), PriceTable("1"))


def test_two_targets_of_a_model_at_one_upstream_have_one_price() -> None:
    targets = [("azure", "one", GPT), ("azure", "two", GPT)]
    own = TargetPrice(discount_percent=Decimal(1))
    with pytest.raises(BadTargetPrice, match="azure/two and another target of gpt-image-1"):
        price_targets(load_prices(), targets, {"azure/one": own})
    both = price_targets(load_prices(), targets, {"azure/one": own, "azure/two": own})
    assert cost(both, "azure", GPT) == 181_515_000 * 99 // 100


def test_a_version_stands_for_one_set_of_prices() -> None:
    one, same, other = (
        at_azure(TargetPrice(discount_percent=Decimal(percent))).version for percent in "112"
    )
    assert one == same != other
    assert one.startswith(f"{load_prices().version}+")
