"""Settings that are misspelt, in a file or in a variable, are pointed out with what is meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.settings import SettingsError, load, suspects

FILES = {
    "port = 8080": "'port' is a setting of [server]",
    "[server]\nbase_url = 'http://a'": "'base_url' is a setting of [upstream]",
    "[Server]\nport = 1": "Did you mean 'server'?",
    "[server]\nPort = 1": "Did you mean 'port'?",
    "[server]\nclientWaitSeconds = 1": "Did you mean 'client_wait_seconds'?",
    "[upstreams.a]\nbase-url = 'http://a'": "Did you mean 'base_url'?",
    "[upstream.openai]\nbase_url = 'http://a'": "[upstreams.openai]",
    "[[upstreams]]\nname = 'a'": "such as [upstreams.openai]",
    "[model.m]\nmax_n = 1": "Did you mean 'models'?",
    "[models.gpt-image-1.5]\nmax_n = 1": '[models."gpt-image-1.5"]',
    "server = 1": "[server] give a table, with a line for each setting",
    "[new_team]\nbudget = 5": "Did you mean 'budget_usd'?",
    "[upstream]\napi_key = '$OPENAI_API_KEY'": 'write "env:OPENAI_API_KEY"',
    "[upstream]\napi_key = '${OPENAI_API_KEY}'": 'write "env:OPENAI_API_KEY"',
    "[upstream]\napi_key = 'env.OPENAI_API_KEY'": 'write "env:OPENAI_API_KEY"',
}
VARIABLES = {
    "GATEWAY_SERVER__PROT": "Did you mean 'port'?",
    "GATEWAY_SERVERS__PORT": "Did you mean 'server'?",
    "GATEWAY__SERVER__PORT": "Did you mean 'server'?",
    "GATEWAY_SERVER_PORT": "write GATEWAY_SERVER__PORT",
    "GATEWAY_UPSTREAMS_OPEN_AI_API_KEY": "write GATEWAY_UPSTREAMS__OPEN_AI__API_KEY",
    "GATEWAY_UPSTREAMS__OPEN_AI_API_KEY": "write GATEWAY_UPSTREAMS__OPEN_AI__API_KEY",
}
SUSPECTS = {
    "gateway_server__port": "GATEWAY_SERVER__PORT",
    "GATWAY_SERVER__PORT": "GATEWAY_SERVER__PORT",
    "GATEWAY_SERVERPORT": "GATEWAY_SERVER__PORT",
    "GATEWAY_CONFG": "GATEWAY_CONFIG",
    "GATEWAY_UPSTREAMS_OPEN_AI_BASEURL": "GATEWAY_UPSTREAMS__OPEN_AI__BASE_URL",
}
UPSTREAM = '[upstreams.open-ai]\nbase_url = "http://a"\napi_key = "env:OPENAI_KEY"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "gateway.toml"


@pytest.mark.parametrize("text", FILES)
def test_a_misspelt_line_of_the_file_is_refused_with_what_is_meant(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load(file, environment={})
    assert FILES[text] in str(caught.value)


@pytest.mark.parametrize("name", VARIABLES)
def test_a_misspelt_variable_is_refused_with_what_is_meant(file: Path, name: str) -> None:
    file.write_text(UPSTREAM)
    with pytest.raises(SettingsError) as caught:
        load(file, environment={name: "9"})
    assert str(caught.value).startswith(f"{name}: ")
    assert VARIABLES[name] in str(caught.value)


@pytest.mark.parametrize("name", SUSPECTS)
def test_a_variable_that_nothing_reads_is_a_suspect_where_it_reads_like_one(
    file: Path, name: str
) -> None:
    file.write_text(UPSTREAM)

    assert suspects(file, {name: "9"}) == [
        f"{name}: nothing reads it; did you mean {SUSPECTS[name]}?"
    ]


def test_a_secrets_variable_that_is_not_set_is_a_suspect_where_a_similar_one_is(file: Path) -> None:
    file.write_text(UPSTREAM)

    assert suspects(file, {"OPENAI_KEYS": "sk"}) == [
        "env:OPENAI_KEY: OPENAI_KEY is not set, but OPENAI_KEYS is"
    ]
    assert suspects(file, {"OPENAI_KEY": "sk", "OPENAI_KEYS": "sk"}) == []


def test_variables_of_others_are_no_suspects(file: Path) -> None:
    of_a_service = {
        "GATEWAY_SERVICE_HOST": "10.0.0.1", "GATEWAY_SERVICE_PORT": "8080",
        "GATEWAY_SERVICE_PORT_HTTP": "8080", "GATEWAY_PORT": "tcp://10.0.0.1:8080",
        "GATEWAY_PORT_8080_TCP_PORT": "8080", "GATEWAY_SERVER_PORT_8080_TCP": "tcp://10.0.0.1",
        "GATEWAY_API_KEY": "sk", "GATEWAY_URL": "http://gateway", "PATH": "/bin",
    }  # fmt: skip
    file.write_text(UPSTREAM)

    assert suspects(file, of_a_service) == []
