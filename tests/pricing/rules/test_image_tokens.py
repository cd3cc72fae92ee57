"""The most tokens of a call: a ceiling that fits, and that no call passes."""

from __future__ import annotations

import itertools

import pytest

from gateway.pricing.price_file import load_prices
from gateway.pricing.rules.ceilings import PriceCeilings
from gateway.pricing.rules.image_tokens import Asked, ImageTokens

DAY = "2026-11-29"
CEILINGS = PriceCeilings(250_000_000, {"mine": 7}, load_prices())
QUALITIES = ("", "low", "medium", "high")
SIZES = ("", "1024x1024", "1024x1536", "1536x1024")


def most(model: str, **asked: object) -> int:
    return CEILINGS.of("openai", model, Asked(**asked), DAY).nanos  # type: ignore[arg-type]


def picture(model: str, quality: str, size: str) -> int:
    price = CEILINGS.table.price_of("openai", model, DAY)
    assert price
    assert price.tokens
    return price.tokens.picture(quality, size)


@pytest.mark.parametrize(
    ("model", "quality", "size", "tokens"),
    [
        ("gpt-image-1", "low", "1024x1024", 272),
        ("gpt-image-1", "medium", "1024x1536", 1584),
        ("gpt-image-1", "high", "1536x1024", 6208),
        ("gpt-image-2", "high", "1024x1024", 7024),
        ("gpt-image-2", "high", "1536x1024", 5488),
        ("gpt-image-2", "high", "1792x1024", 5063),
        ("gpt-image-2", "low", "1024x1024", 196),
        ("gemini-3-pro-image", "", "1k", 1120),
    ],
)
def test_a_picture_has_the_published_number_of_tokens(
    model: str, quality: str, size: str, tokens: int
) -> None:
    assert picture(model, quality, size) == tokens


@pytest.mark.parametrize(
    "model", ["gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5", "gpt-image-2"]
)
def test_what_is_not_chosen_or_not_known_counts_as_the_dearest(model: str) -> None:
    for quality, size in itertools.product(QUALITIES, SIZES):
        chosen = picture(model, quality, size)
        assert chosen <= picture(model, "", size) <= picture(model, "", "")
        assert chosen <= picture(model, quality, "")
        assert picture(model, "unheard-of", size) == picture(model, "", size)
        assert picture(model, quality, "9999x9999") == picture(model, quality, "")


def test_a_low_picture_of_one_reference_is_held_at_less_than_two_cents() -> None:
    """So that a key of $0.30 can spend $0.28."""
    asked = {"quality": "low", "size": "1024x1024", "prompt_bytes": 200, "files": 1}
    assert 10_880_000 < most("gpt-image-1", **asked) < 20_000_000


def test_files_fidelity_the_prompt_and_partial_images_all_count() -> None:
    asked = {"quality": "low", "size": "1024x1024", "prompt_bytes": 200}
    plain = most("gpt-image-1", **asked)
    assert most("gpt-image-1", **asked, files=16) - plain == 16 * (581 * 10_000 + 64 * 5_000)
    high = most("gpt-image-1", **asked, files=1, high_fidelity=True)
    assert high - most("gpt-image-1", **asked, files=1) == 6_240 * 10_000
    assert most("gpt-image-1", **asked, partial_images=3) - plain == 300 * 40_000
    assert most("gpt-image-1", **{**asked, "prompt_bytes": 32_000}) - plain == 31_800 * 5_000


def test_a_configured_ceiling_goes_first_and_the_default_last() -> None:
    assert CEILINGS.of("openai", "mine", Asked(), DAY).basis == "configured"
    assert CEILINGS.of("openai", "gpt-image-1", Asked(), DAY).basis == "table"
    unknown = CEILINGS.of("openai", "unheard-of", Asked(), DAY)
    assert (unknown.nanos, unknown.basis) == (250_000_000, "default")


@pytest.mark.parametrize(
    ("quality", "size", "tokens"),
    [("", "", 90), ("high", "4k", 90), ("other", "4k", 5), ("high", "other", 7), ("high", "", 90)],
)
def test_an_entry_for_any_other_name_is_not_that_of_a_choice_left_open(
    quality: str, size: str, tokens: int
) -> None:
    sizes = ImageTokens(by_size={"": {"": 5}, "high": {"": 7, "4k": 90}})
    assert sizes.picture(quality, size) == tokens
    grid = ImageTokens(grid={"": 16, "high": 96})
    assert grid.picture("", "1024x1024") == grid.picture("high", "1024x1024")
