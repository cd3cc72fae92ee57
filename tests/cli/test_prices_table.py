"""`gateway prices show` and `update`: what an edit costs, and a table written anew."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.cli.prices_update import SourceEntry, read_source, updated
from gateway.pricing.price_file import BadPriceFile, load_prices, parse_prices, shipped_text


def prices(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["prices", *arguments])


def shown(*arguments: str) -> Any:
    return json.loads(prices("show", *arguments, "--json").stdout)


def test_the_cost_of_an_edit_and_what_is_reserved_for_it_are_shown() -> None:
    facts = shown("gpt-image-1", "--quality", "low", "--size", "1024x1024", "--n", "2")
    assert facts["usd_per_million_tokens"]["image_in"] == "10.00"
    assert facts["most_tokens_of_a_picture"]["image_out"] == 272
    assert (facts["most_usd"], facts["reserved_usd"], facts["reserved_by"]) == (
        *("0.03666", "0.03666"),
        "table",
    )
    assert Decimal(shown("gpt-image-1", "--quality", "auto")["most_usd"]) > Decimal("0.25")
    text = prices("show", "gpt-image-1", "--quality", "low", "--size", "1024x1024").output
    assert "An edit of 1 picture costs at most $0.01833." in text
    assert shown("gpt-image-1", "--n", "1000")["pictures"] == 1000


def test_high_fidelity_and_partial_images_are_part_of_what_an_edit_costs() -> None:
    more = ("--input-fidelity", "high", "--partial-images", "3")
    tokens = shown("gpt-image-1", "--quality", "low", "--size", "1024x1024", *more)
    most = tokens["most_tokens_of_a_picture"]
    assert (most["image_in"], most["image_out"]) == (6821, 272 + 300)


def test_a_configured_ceiling_is_what_is_reserved(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text('[models."gpt-image-1"]\nprice_ceiling_usd = 0.2\n')
    facts = shown("gpt-image-1", "--config", str(file))
    assert (facts["reserved_usd"], facts["reserved_by"]) == ("0.20", "configured")


TWO = """
[upstreams.openai]
api_key = "one"
[upstreams.azure]
api = "azure"
models = ["img-prod", "img-test"]
api_key = "two"
[models.gpt-image-1]
targets = ["openai/gpt-image-1", "azure/img-prod"]
aliases = ["default-image"]
"""


@pytest.mark.parametrize(
    ("model", "target", "most_usd"),
    [
        (["gpt-image-1"], "openai/gpt-image-1", "0.01833"),
        (["default-image"], "openai/gpt-image-1", "0.01833"),
        (["gpt-image-1", "--upstream", "azure"], "azure/img-prod", "0.01603875"),
        (["azure/img-prod"], "azure/img-prod", "0.01603875"),
        (["azure/img-test"], "azure/img-test", "0.02"),
    ],
)
def test_the_price_of_each_target_is_shown_as_the_settings_have_it(
    tmp_path: Path, model: list[str], target: str, most_usd: str
) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(
        f'{TWO}[prices.targets."azure/img-prod"]\ndiscount_percent = 12.5\n'
        '[prices.targets."azure/img-test"]\npicture = [{ usd = 0.02 }]\n'
    )
    facts = shown(*model, "--quality", "low", "--size", "1024x1024", "--config", str(file))
    assert (facts["target"], facts["most_usd"], facts["reserved_usd"]) == (
        *(target, most_usd, most_usd),
    )
    assert facts["price_version"].startswith(f"{load_prices().version}+")
    assert facts["other_targets"] == (["azure/img-prod"] if target.startswith("openai") else [])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ('"azure/img-test"]\ndiscount_percent = 5', "no price to take a discount from: name the"),
        ('"azure/img-test"]\nimage_out = 5', "rates need at least text_in and image_out"),
        ('"opnai/m"]\ndiscount_percent = 5', "no upstream 'opnai'. Did you mean 'openai'?"),
        ('"gpt-image-1"]\ndiscount_percent = 5', "give UPSTREAM/MODEL"),
        ('"azure/m"]\ndiscount_percent = 100', "should be less than 100"),
        ('"azure/m"]\ndiscont = 5', "Did you mean 'discount_percent'?"),
        ('"azure/m"]\npicture = [{ usd = 1, qualty = "low" }]', "Did you mean 'quality'?"),
        ('"azure/m"]\nvalid_from = 2026-11-01', "give rates, or prices by picture, or discount_"),
        ('"azure/m"]\npicture = [{ usd = 1 }, { usd = 2 }]', "two prices of one quality and size"),
    ],
)
def test_a_wrong_price_of_a_target_is_one_line(tmp_path: Path, given: str, says: str) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(f"{TWO}[prices.targets.{given}\n")
    result = prices("show", "gpt-image-1", "--config", str(file))
    assert result.exit_code != 0
    assert says in result.output
    assert result.output.count("\n") == 1


def test_a_model_without_a_price_is_reserved_at_the_upstreams() -> None:
    output = prices("show", "unheard-of").output
    assert "No price of unheard-of at deepshi is known." in output
    assert "$0.25 is reserved for it, from the upstream's price_ceiling_usd" in output


def test_a_faulty_table_is_one_line(tmp_path: Path) -> None:
    table, file = tmp_path / "prices.toml", tmp_path / "gateway.toml"
    table.write_text("version = 3\n")
    file.write_text(f'[prices]\nfile = "{table}"\n')
    for command in (["prices", "show", "m"], ["serve"]):
        result = CliRunner().invoke(
            main, [*command, "--config", str(file)], env={"DEEPSHI_API_KEY": "sk-1"}
        )
        assert result.exit_code == 2
        assert result.output == f"Error: [prices] file: {table}: the file: version is missing\n"


TOKENS = "[tokens.gpt-image-1]\nby_size.low = { 1024x1024 = 272 }\n"


def entry(model: str, image_out: str, valid_from: str | None = None) -> SourceEntry:
    rates = {"text_in": Decimal(5), "image_out": Decimal(image_out)}
    return SourceEntry((model,), "gpt-image-1", "https://example.com", valid_from, rates)


def test_a_changed_rate_is_valid_from_today_and_the_earlier_one_stays() -> None:
    text, changes = updated(shipped_text(), [entry("gpt-image-1", "50")], "s 1", "2027-01-15")
    table = parse_prices(text)
    assert len(changes) == 1
    assert "gpt-image-1 from 2027-01-15: " in changes[0]
    assert "image_out $50.00 (was $40.00)" in changes[0]
    assert (table.version, table.source) == ("2027-01-15", "s 1")
    days = [price.valid_from for price in table.prices["gpt-image-1"]]
    assert days == ["2025-01-01", "2027-01-15"]
    assert table.prices["gpt-image-2"] == load_prices().prices["gpt-image-2"]


def test_other_names_of_a_model_are_added_without_a_second_price_of_it() -> None:
    known = entry("gpt-image-1", "40")
    before, _ = updated('version = "1"\n\n' + TOKENS, [known], "s 1", "2027-01-15")
    both = replace(known, models=("gpt-image-0", "gpt-image-1"))
    text, changes = updated(before, [both], "s 1", "2027-01-15")
    assert len(changes) == 1
    days = {
        model: [each.valid_from for each in prices]
        for model, prices in parse_prices(text).prices.items()
    }
    assert days == {"gpt-image-0": ["2025-01-01"], "gpt-image-1": ["2025-01-01"]}


def test_rates_that_differ_from_those_of_the_same_day_are_left_to_a_person() -> None:
    later = [entry("gpt-image-1", "50", "2025-01-01")]
    with pytest.raises(BadPriceFile, match="gpt-image-1 has other rates from 2025-01-01"):
        updated(shipped_text(), later, "s 1", "2027-01-15")


def test_a_reader_during_an_update_finds_the_whole_table_before_it(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    before = shipped_text().replace("image_out = 40", "image_out = 41")
    file.write_text(before)
    with file.open() as reader:
        assert prices("update", "--output", str(file)).exit_code == 0
        assert reader.read() == before
    assert len(load_prices(str(file)).prices["gpt-image-1"]) == 2
    assert [each.name for each in tmp_path.iterdir()] == ["prices.toml"]


def test_a_new_model_has_its_price_since_ever_and_again_changes_nothing() -> None:
    text, changes = updated(shipped_text(), [entry("gpt-image-9", "1")], "s 1", "2027-01-15")
    assert len(changes) == 1
    assert parse_prices(text).prices["gpt-image-9"][0].valid_from == "2025-01-01"
    assert updated(text, [entry("gpt-image-9", "1")], "s 2", "2027-02-01") == (text, [])


def test_the_table_that_ships_is_what_genai_prices_says(tmp_path: Path) -> None:
    entries, source = read_source()
    text, changes = updated(shipped_text(), entries, source, "2026-11-29")
    assert len(entries) >= 11
    assert source != load_prices().source or (text, changes) == (shipped_text(), [])

    result = prices("update", "--output", str(tmp_path / "prices.toml"))
    assert result.exit_code == 0
    assert load_prices(str(tmp_path / "prices.toml")).prices.keys() >= load_prices().prices.keys()


def test_an_update_needs_to_know_its_file() -> None:
    result = prices("update")
    assert result.exit_code == 2
    assert "[prices] file, or --output FILE" in result.output


def test_an_update_without_the_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "genai_prices.data", None)
    result = prices("update", "--output", "unused.toml")
    assert result.exit_code == 1
    assert "pip install 'image-edit-gateway[prices]'" in result.output
