"""[reports]: what is refused, and what follows from what is given."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.settings import Settings, SettingsError, load


def given(**values: str) -> Settings:
    return load(
        Path("/dev/null"),
        environment={f"GATEWAY_REPORTS__{name.upper()}": value for name, value in values.items()},
    )


def test_the_domains_are_those_of_the_recipients_unless_they_are_given() -> None:
    reports = given(smtp_url="smtps://mail.example.com", to="a@Example.com,b@example.org").reports
    assert reports.permitted_domains == {"example.com", "example.org"}
    assert reports.mail_sender == "image-gateway@example.com"
    reports = given(smtp_url="smtps://h", domains="example.net", sender="me@example.net").reports
    assert reports.permitted_domains == {"example.net"}
    assert reports.mail_sender == "me@example.net"


def test_without_a_mail_server_nobody_is_mailed() -> None:
    assert given(to="a@example.com").channels.mail is None


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"schedule": "daily"}, "schedule"),
        ({"smtp_url": "smtps://mail.example.com"}, "name recipients in `to`"),
        ({"smtp_url": "mail.example.com", "to": "a@example.com"}, "smtps://USER:PASSWORD@HOST"),
        ({"to": "finance"}, "'finance' is not an address such as finance@example.com"),
        ({"to": "a@example.com\nBcc: eve@example.org"}, "is not an address"),
        ({"sender": "Gateway"}, "an address such as gateway@example.com"),
        (
            {"to": "a@example.org", "domains": "example.com"},
            "outside of the domains that may be mailed, example.com",
        ),
    ],
)
def test_what_can_not_be_mailed_is_refused(values: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=r"\[reports\]") as refused:
        given(**values)
    assert said in str(refused.value)
