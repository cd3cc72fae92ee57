"""`gateway init` writes settings that load, a state, a team and a key, by flags or questions."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.cli.settings_file import TEMPLATES
from gateway.emulator import EmulatorServer
from gateway.settings import Settings, load
from tests.support.serving import serving

Run = Callable[..., Result]
AZURE = ("--upstream", "azure", "--base-url", "azure=https://contoso.openai.azure.com")
FILE = Path("config/gateway.toml")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str, answers: str | None = None) -> Result:
        return CliRunner().invoke(main, ["init", *arguments], input=answers)

    return invoke


def settings() -> Settings:
    return load(FILE, environment={})


@pytest.mark.parametrize("kind", TEMPLATES)
def test_each_template_is_a_file_that_loads(run: Run, kind: str) -> None:
    model = ("--model", f"m={kind}/n") if kind == "azure" else ()
    done = run("--upstream", kind, "--base-url", f"{kind}=https://a.example/v1", *model)

    assert done.exit_code == 0, done.output
    upstream = settings().upstream
    assert (upstream.name, upstream.base_url) == (kind, "https://a.example/v1")
    assert upstream.api == TEMPLATES[kind].api


def test_one_model_at_two_providers_has_targets_deployments_and_equivalence(run: Run) -> None:
    done = run(
        "--upstream", "openai", *AZURE, "--equivalent", "gpt-image-1",
        "--model", "gpt-image-1=openai/gpt-image-1,azure/img-prod",
    )  # fmt: skip

    assert done.exit_code == 0, done.output
    assert list(settings().upstreams) == ["openai", "azure"]
    assert settings().upstreams["azure"].models == ("img-prod",)
    model = settings().models["gpt-image-1"]
    assert (model.targets, model.equivalent) == (("openai/gpt-image-1", "azure/img-prod"), True)


def test_the_key_of_an_upstream_is_a_variable_of_the_environment(run: Run) -> None:
    run("--upstream", "openai", "--upstream", "second=openai")
    text = FILE.read_text()
    overridden = load(FILE, environment={"GATEWAY_UPSTREAMS__SECOND__API_KEY": "sk-2"})

    assert 'api_key = "env:OPENAI_API_KEY"   # GATEWAY_UPSTREAMS__OPENAI__API_KEY overrides' in text
    assert 'api_key = "env:SECOND_API_KEY"' in text
    (key,) = overridden.upstreams["second"].api_key
    assert key.get_secret_value() == "sk-2"


def test_the_key_that_it_prints_buys_an_edit_at_the_upstream_that_it_wrote(
    run: Run, emulator: EmulatorServer, tmp_path: Path
) -> None:
    done = run("--upstream", "deepshi", "--base-url", f"deepshi={emulator.base_url}", "--team", "a")
    secret = re.search(r"^    (sk-\S+)$", done.output, re.MULTILINE)
    assert secret, done.output
    ours: dict[str, dict[str, object]] = {
        "server": {"port": 0},
        "upstream": {"api_key": emulator.api_key},
    }
    with serving(load(FILE, environment={}, overrides=ours)) as gateway:
        answer = gateway.edit(key=secret[1])

    assert answer.status_code == 200
    commands = [line for line in done.output.splitlines() if line.startswith("    ")][1:]
    assert [line.split()[0] for line in commands] == ["export", "gateway", "curl"]
    assert secret[1] in commands[2]


def test_a_second_run_keeps_the_file_and_the_team(run: Run) -> None:
    run("--upstream", "openai", "--team", "design")
    before = FILE.read_text()
    again = run("--team", "design")
    other = run("--upstream", "xai")

    assert "is ready (schema" in again.output
    assert "There are teams already" in again.output
    assert FILE.read_text() == before
    assert "export GATEWAY_CONFIG=" in other.output
    assert "exists and is kept" in run("--upstream", "xai").output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--upstream", "openia"), "Did you mean 'openai'?"),
        (("--upstream", "azure"), "--base-url azure=https://RESOURCE.openai.azure.com"),
        (AZURE, "name its deployments here"),
        (("--upstream", "openai", "--upstream", "openai"), "write NAME=KIND for a second one"),
        (("--upstream", "openai", "--model", "m=azure/n"), "no upstream 'azure'"),
        (("--upstream", "openai", "--model", "m"), "write NAME=VALUE"),
        (("--upstream", "openai", "--base-url", "opnai=http://a"), "Did you mean 'openai'?"),
        (("--upstream", "openai", "--base-url", "openai=a"), "begins with https:// or http://"),
        (("--upstream", "openai", "--equivalent", "m"), "no --model m=…"),
        (("--upstream", "openai", "--team", "a", "--budget-usd", "much"), "amount in dollars"),
        (("--model", "m=a/b"), "need --upstream"),
    ],
)
def test_what_is_wrong_is_one_line_and_writes_nothing(
    run: Run, arguments: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    done = run(*arguments)

    assert done.exit_code == 2
    assert said in done.output
    assert len(done.output.splitlines()) == 1
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_questions_write_the_same_as_flags(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.cli.init._may_ask", lambda config: config is None)
    answers = ("openai,azure", "contoso", "gpt-image-1", "", "img-prod", "y", "", "design", "25")
    done = run(answers="\n".join((*answers, "")))

    assert done.exit_code == 0, done.output
    assert settings().upstreams["azure"].base_url == "https://contoso.openai.azure.com"
    assert settings().models["gpt-image-1"].equivalent
    assert "The team design may spend $25 a month." in done.output


def test_a_script_is_asked_nothing_and_gets_the_state_alone(run: Run, tmp_path: Path) -> None:
    done = run()

    assert done.exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["var"]
