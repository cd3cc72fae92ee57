"""The key of the upstream: what is refused before anything is served."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.runtime.backends import open_upstream
from gateway.settings import Settings, SettingsError, load

NO_FILE = Path("/dev/null")


@pytest.mark.parametrize("key", [" sk-1 ", "sk-1\n", "\tsk-1\r\n"])
def test_white_space_around_a_key_is_stripped(key: str) -> None:
    upstream = load(environment={"GATEWAY_UPSTREAM__API_KEY": key}).upstream
    assert [each.get_secret_value() for each in upstream.api_key] == ["sk-1"]


@pytest.mark.parametrize("odd", ["\u200b", "\ufeff", "\n", "é", "\x00", " "])
def test_a_key_that_a_header_cannot_hold_is_refused_by_name_and_not_shown(odd: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(environment={"GATEWAY_UPSTREAM__API_KEY": f"sk-se{odd}cret"})
    said = str(caught.value)
    assert "upstream" in said
    assert f"key 1 has U+{ord(odd):04X} as character 6" in said
    assert "cret" not in said


def test_an_empty_key_is_refused_unless_none_is_sent() -> None:
    empty = {"GATEWAY_UPSTREAM__API_KEY": " "}
    with pytest.raises(SettingsError, match="api_key is empty"):
        open_upstream(load(environment=empty), "deepshi")
    open_upstream(load(environment={**empty, "GATEWAY_UPSTREAM__AUTH": "none"}), "deepshi")


def test_an_upstream_without_a_key_of_its_own_gets_no_other_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DEEPSHI_API_KEY", "sk-1")
    tables = {"upstreams": {"my.openai": {"base_url": "https://api.openai.com/v1"}, "deepshi": {}}}
    settings = load(NO_FILE, environment={}, overrides=tables)
    open_upstream(settings, "deepshi")
    variable = "GATEWAY_UPSTREAMS__MY_OPENAI__API_KEY"
    with pytest.raises(SettingsError) as caught:
        open_upstream(settings, "my.openai")
    assert f"[upstreams.my.openai] api_key is empty: set {variable}, or" in str(caught.value)


@pytest.mark.parametrize("auth", ["basic", "header:", "header:a b", "header:Host", "header:a\n"])
def test_another_way_to_send_the_key_is_refused(auth: str) -> None:
    with pytest.raises(SettingsError, match="header:NAME"):
        load(environment={"GATEWAY_UPSTREAM__AUTH": auth})


def test_what_is_not_set_is_as_the_api_documents_it() -> None:
    tables = {"upstream": {"api": "azure", "models": ["img-prod"], "auth": ""}}
    upstream = load(NO_FILE, environment={}, overrides=tables).upstream
    assert (upstream.name, upstream.auth) == ("azure", "header:api-key")
    assert upstream.edits_path == "/openai/deployments/{model}/images/edits"
    assert upstream.query == {"api-version": "2025-04-01-preview"}


def test_what_is_set_beats_what_the_api_documents() -> None:
    given = {
        "api": "azure", "models": "img-prod", "auth": "bearer", "edits_path": "/edit",
        "query": '{"api-version": "2026-01-01"}', "headers": {"x-team": "design"},
    }  # fmt: skip
    upstream = load(NO_FILE, environment={}, overrides={"upstream": given}).upstream
    assert (upstream.auth, upstream.edits_path) == ("bearer", "/edit")
    assert upstream.query == {"api-version": "2026-01-01"}
    assert upstream.headers["x-team"].get_secret_value() == "design"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"api": "gemni"}, "Did you mean 'gemini'?"),
        ({"api": []}, "api: "),
        ({"api": "azure"}, 'models = ["img-prod"]'),
        ({"headers": {"host": "a"}}, "'host' is not a header that can be added"),
        ({"headers": {"x-team": "a\nb"}}, "characters that a header can't hold"),
        ({"query": "x"}, "query: "),
        ({"edits_path": "edits"}, "a path such as /images/edits"),
    ],
)
def test_a_wrong_value_is_one_line(given: dict[str, object], says: str) -> None:
    with pytest.raises(SettingsError) as wrong:
        load(NO_FILE, environment={}, overrides={"upstream": given})
    assert says in str(wrong.value)
    assert "\n" not in str(wrong.value)


TWO = {
    "openai": {"base_url": "https://api.openai.com/v1"},
    "azure": {"api": "azure", "models": "x"},
}


def load_two(**models: object) -> Settings:
    return load(NO_FILE, environment={}, overrides={"upstreams": TWO, "models": models})


def test_several_upstreams_keep_their_order_and_their_own_settings() -> None:
    found = load_two().every_upstream
    assert list(found) == ["openai", "azure"]
    assert [each.name for each in found.values()] == ["openai", "azure"]
    assert found["azure"].auth == "header:api-key"


def test_the_short_form_is_one_upstream() -> None:
    one = load(NO_FILE, environment={"GATEWAY_UPSTREAM__NAME": "here"})
    assert list(one.every_upstream) == ["here"]
    assert one.upstream_name() == "here"


def test_a_secret_of_each_upstream_may_stand_in_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text('[upstreams.Azure-EU]\napi = "azure"\nmodels = ["img"]\n')
    given = {
        "GATEWAY_UPSTREAMS__AZURE_EU__API_KEY": "one",
        "GATEWAY_UPSTREAMS__XAI__API_KEY": "two",
    }
    found = load(file, environment=given).every_upstream
    keys = {name: each.api_key[0].get_secret_value() for name, each in found.items()}
    assert keys == {"Azure-EU": "one", "xai": "two"}


def test_a_variable_that_means_two_upstreams_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text("[upstreams.a-b]\n[upstreams.a_b]\n")
    with pytest.raises(SettingsError, match="several upstreams, a-b, a_b"):
        load(file, environment={"GATEWAY_UPSTREAMS__A_B__API_KEY": "one"})


def test_with_several_upstreams_one_has_to_be_named() -> None:
    assert load_two().upstream_name("azure") == "azure"
    with pytest.raises(SettingsError, match="one of openai, azure"):
        load_two().upstream_name()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"upstream": {"name": "a"}, "upstreams": TWO}, "short form for exactly one upstream"),
        ({"upstreams": {"a b": {}}}, "[upstreams.a b] name: give 1 to 64 of"),
        ({"upstreams": {"a": {"name": "b"}}}, "without `name`"),
        ({"upstreams": {"a": 1}}, "give a table for each upstream"),
        ({"upstreams": {"a": {"base_ulr": ""}}}, "Did you mean 'base_url'?"),
        ({"upstreams": TWO, "models": {"m": {"targets": ["opnai/m"]}}}, "Did you mean 'openai'?"),
        ({"upstreams": TWO, "models": {"m": {"targets": ["m"]}}}, "give UPSTREAM/MODEL"),
        ({"upstreams": TWO, "models": {"m": {"targets": ["azure/m"] * 2}}}, "named twice"),
        ({"upstreams": TWO, "models": {"m": {"equivalent": True}}}, "equivalent: name the targets"),
        ({"models": {"m": {"aliases": ["a"]}, "n": {"aliases": ["a"]}}}, "a name of 'm'"),
        ({"models": {"m": {"aliases": ["m"]}}}, "a name of 'm'"),
    ],
)
def test_a_wrong_table_of_upstreams_or_models_is_one_line(
    given: dict[str, dict[str, object]], says: str
) -> None:
    with pytest.raises(SettingsError) as wrong:
        load(NO_FILE, environment={}, overrides=given)
    assert says in str(wrong.value)
    assert "\n" not in str(wrong.value)


SEVERAL = {
    "GATEWAY_UPSTREAMS__OPENAI__API": "openai",
    "GATEWAY_UPSTREAMS__OPENAI__STATEMENT": '{"cost": "amount_value", "granularity": "day", '
    '"filters": {"line_item": ["gpt-image-*", ""]}}',
    "GATEWAY_UPSTREAMS__OTHER__BASE_URL": "https://other.example/v1",
    "GATEWAY_STATEMENT__COST": "price",
}


def test_a_statement_is_read_as_its_upstream_says_else_as_all_are(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text("[upstreams.openai]\n[upstreams.other]\n")
    settings = load(file, environment=SEVERAL)
    own, common = (settings.statement_options(name) for name in ("openai", "other"))
    assert (own.columns.cost, own.aggregated) == ("amount_value", True)
    assert own.filters == {"line_item": ("gpt-image-*", "")}
    assert (common.columns.cost, common.aggregated) == ("price", False)


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ('{"costs": "x"}', "[upstreams.openai.statement] no setting 'costs'. Did you mean 'cost'?"),
        ('{"dates": "uk"}', "[upstreams.openai.statement] dates: Input should be 'iso', 'us'"),
        ('{"title_lines": -1}', "[upstreams.openai.statement] title_lines:"),
        ("yes", "[upstreams.openai] statement: give a table such as"),
    ],
)
def test_a_wrong_statement_table_is_one_line(tmp_path: Path, statement: str, says: str) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text("[upstreams.openai]\n[upstreams.other]\n")
    environment = {**SEVERAL, "GATEWAY_UPSTREAMS__OPENAI__STATEMENT": statement}
    with pytest.raises(SettingsError) as wrong:
        load(file, environment=environment)
    assert says in str(wrong.value)
    assert "\n" not in str(wrong.value)
