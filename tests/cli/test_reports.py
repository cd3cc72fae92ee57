"""`gateway reports`, and what `gateway check` says of mail; with a real mail server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.emulator import EmulatorServer
from tests.support.mail_server import MailServer, receiving_mail
from tests.support.receiver import receiving
from tests.support.serving import make_key, serving, settings_for

FINANCE, ADA = "finance@example.com", "ada@example.com"
Run = Callable[..., Result]


@pytest.fixture
def server() -> Iterator[MailServer]:
    with receiving_mail() as made:
        yield made


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, emulator: EmulatorServer, server: MailServer
) -> Run:
    """`gateway ARGUMENTS` on a state with two calls of the team `design`, whose owner is Ada."""
    settings = settings_for(tmp_path, emulator)
    make_key(settings, team_terms={"budget_usd": "1", "owner": ADA})
    with serving(settings) as gateway:
        for prompt in ("one", "two", "two"):
            assert gateway.edit(prompt).status_code == 200
    monkeypatch.chdir(tmp_path)
    variables = {
        "STATE__URL": settings.state.url,
        "UPSTREAM__BASE_URL": emulator.base_url,
        "UPSTREAM__API_KEY": emulator.api_key,
        "REPORTS__SMTP_URL": server.url(),
        "REPORTS__TO": FINANCE,
    }
    for name, value in variables.items():
        monkeypatch.setenv(f"GATEWAY_{name}", value)

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(main, arguments)

    return invoke


def this_month(run: Run) -> str:
    usage = json.loads(run("usage", "--by", "month", "--json").stdout)
    return str(usage["to"])[:7]


def test_a_preview_is_what_is_sent(run: Run, server: MailServer) -> None:
    month = this_month(run)
    shown = run("reports", "preview", "--period", month)
    assert shown.exit_code == 0, shown.output
    assert f"To: {FINANCE}\n" in shown.stdout
    assert "The organisation spent $0.02 on 2 pictures in 2 paid calls" in shown.stdout
    assert server.mails == []
    sent = run("reports", "send", "--period", month)
    assert sent.exit_code == 0, sent.output
    assert f"has accepted the mail to {FINANCE}." in sent.stdout
    (mail,) = server.mails
    text = mail.get_body(["plain"])
    assert text is not None
    assert text.get_content().replace("\r\n", "\n") in shown.stdout
    html = run("reports", "preview", "--period", month, "--html")
    assert html.stdout.startswith("<!doctype html>")
    assert html.stdout.count(">0.02</td>") >= 4


def test_a_teams_report_goes_to_its_owner_and_its_webhook(run: Run, server: MailServer) -> None:
    with receiving() as hook:
        run("teams", "update", "design", "--webhook-url", hook.url)
        sent = run("reports", "send", "--team", "design", "--period", this_month(run))
        assert sent.exit_code == 0, sent.output
        (post,) = hook.posts
    assert (post.message["team"], post.message["total"]["spent_usd"]) == ("design", "0.02")
    assert [mail["To"] for mail in server.mails] == [ADA]
    assert (
        run("teams", "update", "design", "--owner", "Ada", "--webhook-url", "none").exit_code == 0
    )
    nobody = run("reports", "send", "--team", "design")
    assert nobody.exit_code == 1
    assert "its owner 'Ada' is no address that may be mailed" in nobody.stderr


def test_a_report_may_be_sent_within_the_domains_alone(run: Run, server: MailServer) -> None:
    for address in ("eve@example.org", "me", "me@example.com, eve@example.org"):
        refused = run("reports", "send", "--to", address)
        assert refused.exit_code == 2
        assert "[reports] domains" in refused.stderr
    assert run("reports", "send", "--to", "me@example.com", "--period", "2026-W48").exit_code == 0
    assert [mail["To"] for mail in server.mails] == ["me@example.com"]
    assert run("reports", "preview", "--period", "2026-13").exit_code == 2
    assert run("reports", "preview", "--period", "2026-W60").exit_code == 2


def test_a_refusal_of_the_server_is_shown(run: Run, server: MailServer) -> None:
    server.replies[:] = ["554 this is spam"]
    failed = run("reports", "send")
    assert failed.exit_code == 1
    assert failed.stderr.splitlines()[-1] == "Error: not sent: it answered 554 this is spam"


def test_check_connects_to_the_mail_server(
    run: Run, server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = run("check").stdout
    assert f"127.0.0.1:{server.port} answers; mail goes to {FINANCE} and owners" in found
    assert server.mails == []
    run("teams", "update", "design", "--owner", "Ada")
    assert "teams without an owner who may be mailed: design" in run("check").stdout
    monkeypatch.setenv("GATEWAY_REPORTS__SMTP_URL", "smtps://127.0.0.1:9")
    fault = run("check")
    assert fault.exit_code == 1
    assert "FAULT: the mail server can't be used: no answer" in fault.stdout
    assert "→ correct [reports] smtp_url" in fault.stdout
