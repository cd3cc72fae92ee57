"""Who may be mailed."""

from __future__ import annotations

import pytest

from gateway.alerts.rules.mail_addresses import MailAddresses, address_in
from gateway.alerts.rules.mail_server import parse_mail_server

ADDRESSES = MailAddresses(("finance@example.com",), frozenset({"example.com"}))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ada@example.com", "ada@example.com"),
        (" Ada Lovelace <ada@example.com> ", "ada@example.com"),
        ("Ada", ""),
        ("", ""),
        ("ada@example.com, eve@example.org", ""),
        ("ada@example.com\nBcc: eve@example.org", ""),
        ("<eve@example.org> ada@example.com", ""),
        ("ada@exämple.com", ""),
        (f"{'a' * 64}@{'b' * 250}.com", ""),
    ],
)
def test_the_address_of_an_owner(text: str, address: str) -> None:
    assert address_in(text) == address


def test_an_owner_is_mailed_within_the_domains_alone() -> None:
    assert ADDRESSES.of_owner("Ada <ada@EXAMPLE.com>") == "ada@EXAMPLE.com"
    for owner in ("Ada", "eve@example.org", "eve@sub.example.com", "eve@notexample.com"):
        assert ADDRESSES.of_owner(owner) == ""
        assert ADDRESSES.of_alert(owner) == ("finance@example.com",)
    assert ADDRESSES.of_alert("ada@example.com") == ("ada@example.com",)


@pytest.mark.parametrize(
    ("url", "host", "port", "security"),
    [
        ("smtps://mail.example.com", "mail.example.com", 465, "tls"),
        ("smtp://mail.example.com", "mail.example.com", 587, "starttls"),
        ("smtp://localhost:25", "localhost", 25, "starttls_if_offered"),
        ("smtp://[::1]:25/", "::1", 25, "starttls_if_offered"),
    ],
)
def test_the_server_of_a_url(url: str, host: str, port: int, security: str) -> None:
    server = parse_mail_server(url)
    assert (server.host, server.port, server.security) == (host, port, security)


def test_a_password_is_decoded_and_not_shown() -> None:
    server = parse_mail_server("smtps://me%40x:p%2Fq%40r@mail.example.com")
    assert (server.username, server.password) == ("me@x", "p/q@r")
    assert "p/q@r" not in repr(server)


@pytest.mark.parametrize(
    "url",
    ["http://mail.example.com", "smtp://", "smtp://h:x", "smtps://secret@h", "smtp://h/path",
     "smtp://u:p@ss/w@h", "smtp://h?starttls=no"],
)  # fmt: skip
def test_another_url_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ValueError, match="smtps://USER:PASSWORD@HOST") as refused:
        parse_mail_server(url)
    assert "secret" not in str(refused.value)
