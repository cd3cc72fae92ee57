"""The price table: what tokens and pictures cost, to the nano-dollar."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.reservation import PriceKey
from gateway.model.token_usage import TokenUsage
from gateway.pricing.price_file import load_prices
from gateway.pricing.rules.image_tokens import Asked
from gateway.pricing.rules.price_table import PicturePrice, Price, PriceTable, TokenRates

DAY = "2026-11-29"
SHIPPED = load_prices()
COUNT = st.integers(0, 10**7)
RATES = st.builds(TokenRates, *[st.integers(0, 10**12)] * 6)


def cost(model: str, usage: TokenUsage | None, n: int = 1) -> int | None:
    return SHIPPED.cost_of(usage, PriceKey("openai", model), n, DAY)


def test_the_documented_example_costs_what_openai_charges() -> None:
    usage = TokenUsage(text_in=23, image_in=1_500, image_out=4_160)
    assert cost("gpt-image-1", usage) == 181_515_000


def test_pictures_are_priced_apart_from_text() -> None:
    """Taking the output of gpt-image-1.5 as text would make a third of it."""
    usage = TokenUsage(text_in=23, image_in=1_500, image_out=4_160)
    assert cost("gpt-image-1.5", usage) == 145_235_000
    as_text = replace(usage, text_out=4_160, image_out=0)
    assert cost("gpt-image-1.5", as_text) == 53_715_000


def test_cached_tokens_are_a_part_of_the_input_and_cheaper() -> None:
    whole = TokenUsage(text_in=1_000, image_in=1_000)
    cached = replace(whole, cached_text_in=400, cached_image_in=600)
    assert cost("gpt-image-1", whole) == 15_000_000
    assert cost("gpt-image-1", cached) == 3_000_000 + 500_000 + 4_000_000 + 1_500_000


def test_what_is_not_known_costs_none_and_not_0() -> None:
    assert cost("unheard-of", TokenUsage(image_out=1)) is None
    assert cost("gpt-image-1", None) is None
    early = SHIPPED.cost_of(TokenUsage(), PriceKey("openai", "gpt-image-1"), 1, "2024-12-31")
    assert early is None


def test_a_fraction_of_a_nano_dollar_is_rounded_up_once_a_call() -> None:
    rates = TokenRates(1, 1, 1, 1, 1, 1)
    assert rates.cost_nanos(TokenUsage()) == 0
    assert rates.cost_nanos(TokenUsage(text_in=1, image_in=1, image_out=1)) == 1
    assert rates.cost_nanos(TokenUsage(text_in=1_000_001)) == 2


@given(RATES, st.lists(COUNT, min_size=6, max_size=6))
def test_more_tokens_never_cost_less(rates: TokenRates, counts: list[int]) -> None:
    text_in, image_in, cached_text, cached_image, text_out, image_out = counts
    usage = TokenUsage(
        text_in,
        image_in,
        min(cached_text, text_in),
        min(cached_image, image_in),
        text_out,
        image_out,
    )
    before = rates.cost_nanos(usage)
    for kind in ("text_in", "image_in", "text_out", "image_out"):
        more = replace(usage, **{kind: getattr(usage, kind) + 1})
        assert rates.cost_nanos(more) >= before >= 0


def test_a_day_has_the_price_that_was_valid_then() -> None:
    old, new = TokenRates(*[1_000_000] * 6), TokenRates(*[2_000_000] * 6)
    table = PriceTable(
        prices={"m": (Price("m", "2026-01-01", "", old), Price("m", "2026-11-01", "", new))}
    )
    usage, key = TokenUsage(image_out=5), PriceKey("u", "m")
    assert table.cost_of(usage, key, 1, "2025-12-31") is None
    assert table.cost_of(usage, key, 1, "2026-10-31") == 5
    assert table.cost_of(usage, key, 1, "2026-11-01") == 10


def test_a_price_at_one_upstream_goes_before_the_models() -> None:
    table = PriceTable(
        prices={
            "m": (Price("m", DAY, "", TokenRates(*[1_000_000] * 6)),),
            "azure/m": (Price("azure/m", DAY, "", TokenRates(*[3_000_000] * 6)),),
        }
    )
    usage = TokenUsage(text_in=1)
    assert table.cost_of(usage, PriceKey("openai", "m"), 1, DAY) == 1
    assert table.cost_of(usage, PriceKey("azure", "m"), 1, DAY) == 3


BY_PICTURE = Price(
    "m",
    DAY,
    "",
    pictures=(
        PicturePrice(11, "low", "s"),
        PicturePrice(42, "high", "s"),
        PicturePrice(50, "high", "l"),
    ),
)


@pytest.mark.parametrize(
    ("quality", "size", "n", "nanos"),
    [("low", "s", 3, 33), ("high", "l", 1, 50), ("high", "", 1, None), ("low", "", 1, 11)],
)
def test_pictures_have_a_price_by_quality_size_and_number(
    quality: str, size: str, n: int, nanos: int | None
) -> None:
    table = PriceTable(prices={"m": (BY_PICTURE,)})
    assert table.cost_of(None, PriceKey("u", "m", quality, size), n, DAY) == nanos


@pytest.mark.parametrize(
    ("quality", "size", "nanos", "most"),
    [
        ("hd", "", None, 21),
        ("hd", "s", 19, 19),
        ("hd", "l", 21, 21),
        ("standard", "s", 1, 1),
        ("standard", "l", 2, 2),
        ("", "s", None, 19),
        ("", "", None, 21),
    ],
)
def test_the_most_specific_price_of_a_picture_counts(
    quality: str, size: str, nanos: int | None, most: int
) -> None:
    price = Price(
        *("m", DAY, ""),
        pictures=(
            PicturePrice(1),
            PicturePrice(2, "", "l"),
            PicturePrice(19, "hd"),
            PicturePrice(21, "hd", "l"),
        ),
    )
    assert price.cost_nanos(None, PriceKey("u", "m", quality, size), 1) == nanos
    assert price.most_nanos(Asked(quality, size)) == most
