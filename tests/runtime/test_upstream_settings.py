"""The key of the upstream: what is refused before anything is served."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.runtime.backends import open_upstream
from gateway.settings import SettingsError, load

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
        open_upstream(load(environment=empty))
    open_upstream(load(environment={**empty, "GATEWAY_UPSTREAM__AUTH": "none"}))


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
