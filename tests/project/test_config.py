"""config/gateway.toml says every setting, and says its default; production.toml is in order."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from decimal import Decimal
from pathlib import Path

import pytest

from gateway.emulator import EmulatorServer
from gateway.settings import Settings, SettingsError, load, setting_names

FILE = Path("config/gateway.toml")
ENVIRONMENT = {"DEEPSHI_API_KEY": "", "GATEWAY_ADMIN_TOKEN": ""}


def test_what_the_file_says_is_what_holds_without_it() -> None:
    assert load(FILE, environment=ENVIRONMENT) == load(Path("/dev/null"), environment=ENVIRONMENT)


def test_the_file_names_every_setting() -> None:
    text = FILE.read_text()
    tables = tomllib.loads(text, parse_float=Decimal)
    for section in Settings.model_fields.keys() - {"models", "upstreams"}:
        assert setting_names(section), section
        for name in setting_names(section):
            named = name in tables[section] or (section == "new_team" and f"# {name} =" in text)
            assert named, f"[{section}] {name} is not documented"


PRODUCTION = Path("config/production.toml")
SECRETS = {
    "DEEPSHI_API_KEY": "sk-upstream",
    "GATEWAY_ADMIN_TOKEN": "root token",
    "GATEWAY_METRICS_TOKEN": "metrics token",
    "GATEWAY_WEBHOOK_URL": "https://chat.example/hook",
    "GATEWAY_WEBHOOK_SECRET": "webhook secret",
}


def test_the_production_file_takes_every_secret_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, secret in SECRETS.items():
        assert secret not in PRODUCTION.read_text()
        monkeypatch.setenv(name, secret)
    settings = load(PRODUCTION)
    assert [
        *(key.get_secret_value() for key in settings.upstream.api_key),
        settings.admin.token.get_secret_value(),
        settings.metrics.token.get_secret_value(),
        settings.warnings.webhook_url.get_secret_value(),
        settings.warnings.secret.get_secret_value(),
    ] == list(SECRETS.values())
    assert settings.new_team.budget_nanos


@pytest.mark.parametrize("name", ["paid_images_per_day", "requests_per_minute", "budget_period"])
def test_an_empty_count_or_period_in_the_environment_is_an_error(name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        load(environment={f"GATEWAY_NEW_TEAM__{name.upper()}": ""})


def test_an_empty_budget_in_the_environment_is_no_budget() -> None:
    assert load(environment={"GATEWAY_NEW_TEAM__BUDGET_USD": ""}).new_team.budget_nanos is None


def test_check_finds_the_production_file_in_order(emulator: EmulatorServer, tmp_path: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        **SECRETS,
        "DEEPSHI_API_KEY": emulator.api_key,
        "GATEWAY_UPSTREAM__BASE_URL": emulator.base_url,
        "GATEWAY_SERVER__SPOOL_FOLDER": str(tmp_path / "spool"),
        "GATEWAY_CACHE__URL": f"disk:{tmp_path / 'results'}",
        "GATEWAY_STATE__URL": f"sqlite:{tmp_path / 'gateway.db'}",
    }
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "check", "--config", str(PRODUCTION)],
        env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAULT" not in done.stdout


@pytest.mark.parametrize("form", ["file", "env"])
def test_the_state_s_url_may_stand_in_a_file_or_a_variable(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "postgresql://gateway:secret@db/gateway"
    (tmp_path / "url").write_text(f"{url}\n")
    monkeypatch.setenv("STATE_URL", url)
    given = f"file:{tmp_path / 'url'}" if form == "file" else "env:STATE_URL"
    settings = load(Path("/dev/null"), environment={"GATEWAY_STATE__URL": given})
    assert settings.state.url == url


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GATEWAY_ADMIN__TOKEN", "CHANGE-ME"),
        ("GATEWAY_METRICS__TOKEN", "file:{}/secret"),
        ("GATEWAY_UPSTREAM__API_KEY", "sk-good,CHANGE-ME"),
        ("GATEWAY_STATE__URL", "postgresql://gateway:CHANGE-ME@db/gateway"),
    ],
)
def test_a_secret_that_everybody_knows_is_refused(name: str, value: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("CHANGE-ME\n")
    with pytest.raises(SettingsError, match="is still CHANGE-ME"):
        load(Path("/dev/null"), environment={name: value.format(tmp_path)})


def test_what_an_orchestrator_injects_is_no_setting() -> None:
    injected = {"GATEWAY_PORT": "tcp://10.0.0.1:80", "GATEWAY_SERVICE_HOST": "10.0.0.1"}
    assert load(FILE, environment=injected) == load(FILE, environment={})


def test_an_orchestrators_variable_may_look_like_a_setting_with_one_underscore() -> None:
    assert load(FILE, environment={"GATEWAY_SERVER_PORT": "tcp://10.0.0.1:80"}).server.port == 8080


def test_a_name_with_one_underscore_too_few_is_pointed_out() -> None:
    with pytest.raises(SettingsError, match="GATEWAY_SERVER_PORT: write GATEWAY_SERVER__PORT"):
        load(FILE, environment={"GATEWAY_SERVER_PORT": "9000"})


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text("\ufeff[server]\nport = 9000\n", encoding="utf-8")
    assert load(file, environment={}).server.port == 9000


def test_a_host_may_be_in_brackets() -> None:
    assert load(environment={"GATEWAY_SERVER__HOST": "[::]"}).server.host == "::"


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_certificates_that_can_not_be_read_are_named(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "ca.pem"
    if content:
        file.write_text(content)
    with pytest.raises(SettingsError, match=rf"ca_bundle: can't read the certificates in {file}"):
        load(environment={"GATEWAY_UPSTREAM__CA_BUNDLE": str(file)})


@pytest.mark.parametrize(
    "name",
    ["UPSTREAM__NAME", "UPSTREAM__BASE_URL", "UPSTREAM__PROXY", "CACHE__URL", "STATE__URL",
     "TRACING__ENDPOINT", "TRACING__HEADERS", "WARNINGS__WEBHOOK_URL", "WARNINGS__PROXY",
     "UPSTREAM__UNCHARGED_STATUSES"],
)  # fmt: skip
def test_a_wrong_text_is_told_what_is_expected_without_a_pattern(name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(environment={f"GATEWAY_{name}": "?s3cret?"})
    assert ": give " in str(caught.value)
    assert "pattern" not in str(caught.value)
    assert "s3cret" not in str(caught.value)
