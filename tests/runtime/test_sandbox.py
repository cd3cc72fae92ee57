"""The sandbox's settings: nothing that it does reaches a person."""

from __future__ import annotations

from pathlib import Path

from gateway.alerts.rules.channels import Channels
from gateway.runtime.sandbox import sandbox_settings
from gateway.settings import load


def test_the_sandbox_sends_no_report_and_no_alert(tmp_path: Path) -> None:
    reports = {"schedule": "weekly", "smtp_url": "smtp://localhost", "to": ["a@example.com"]}
    hook = "https://chat.example/hook"
    overrides = {
        "reports": {**reports, "webhook_url": hook},
        "warnings": {"webhook_url": hook, "to": ["b@example.com"]},
    }
    given = load(Path("/dev/null"), environment={}, overrides=overrides)
    assert given.channels.mail
    settings = sandbox_settings(given, tmp_path, "http://127.0.0.1:1", "sk")
    assert settings.reports.schedule == ""
    assert settings.channels == Channels(mail=None)
