"""Mail over real sockets: what arrives, TLS, and servers that refuse, fail or break off."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.alerts.mail_client import MailClient
from gateway.alerts.rules.mail_content import AttachedCsv, Mail, MailContent
from gateway.alerts.rules.mail_server import parse_mail_server
from gateway.alerts.undelivered import Undelivered
from tests.deploy.fronts import certificate
from tests.support.funds import NOW_MS
from tests.support.mail_server import DROP, PASSWORD, USER, MailServer, receiving_mail

SENDER, TO = "gateway@example.com", "ada@example.com"
CONTENT = MailContent(
    "The team design has spent $0.06",
    "text: Käse\n",
    "<p>html: Käse</p>",
    (AttachedCsv("usage.csv", "team,spent_usd\ndesign,0.06\n"),),
)
MAIL = Mail("mail_1", "budget.forecast", TO, CONTENT, NOW_MS)


@pytest.fixture
def server() -> Iterator[MailServer]:
    with receiving_mail() as made:
        yield made


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """A certificate of 127.0.0.1, and a server's context with it."""
    file, key = certificate(tmp_path_factory.mktemp("certificate"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(file, key)
    return file, tls


def client(url: str, ca_bundle: Path | str = "", seconds: float = 5.0) -> MailClient:
    return MailClient(
        parse_mail_server(url), SENDER, ca_bundle=str(ca_bundle), timeout_seconds=seconds
    )


async def test_a_mail_has_text_html_and_csv_and_is_the_same_at_every_attempt(
    server: MailServer,
) -> None:
    for _ in range(2):
        await client(server.url()).send(MAIL)
    first, second = server.mails
    assert (first["To"], first["From"]) == (TO, f"Image gateway <{SENDER}>")
    assert first["Subject"] == CONTENT.subject
    assert first["Message-ID"] == second["Message-ID"] == "<mail_1@example.com>"
    assert first["Date"] == second["Date"] == "Wed, 25 Nov 2026 12:00:00 +0000"
    text, html = first.get_body(["plain"]), first.get_body(["html"])
    assert text is not None
    assert html is not None
    assert text.get_content().replace("\r\n", "\n") == CONTENT.text
    assert html.get_content().strip() == CONTENT.html
    (csv,) = first.iter_attachments()
    assert (csv.get_filename(), csv.get_content_type()) == ("usage.csv", "text/csv")
    assert csv.get_content().replace("\r\n", "\n") == CONTENT.attachments[0].csv


@pytest.mark.parametrize("line_break", ["\r\n", "\n", "\r", "\x0b", "\x85", "\u2028"])
async def test_a_name_with_a_line_break_adds_no_header(server: MailServer, line_break: str) -> None:
    subject = f"The team design{line_break}Bcc: eve@example.org{line_break}{line_break}body"
    await client(server.url()).send(replace(MAIL, content=replace(CONTENT, subject=subject)))
    (mail,) = server.mails
    assert mail["Subject"] == "The team design Bcc: eve@example.org body"
    assert mail["Bcc"] is None
    assert server.recipients == [TO]


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_a_certificate_is_verified(chain: tuple[Path, ssl.SSLContext], scheme: str) -> None:
    file, tls = chain
    starttls, from_start = (tls, None) if scheme == "smtp" else (None, tls)
    with receiving_mail(tls=from_start, starttls=starttls) as server:
        with pytest.raises(Undelivered, match="certificate verify failed") as failed:
            await client(server.url(scheme)).send(MAIL)
        assert not failed.value.is_final
        assert server.mails == []
        await client(server.url(scheme), file).send(MAIL)
    assert server.secured == [True]


async def test_nothing_is_sent_in_the_clear_to_another_machine(server: MailServer) -> None:
    sending = client(server.url())
    assert parse_mail_server("smtp://mail.example.com").security == "starttls"
    sending.server = replace(sending.server, security="starttls")
    with pytest.raises(Undelivered, match="STARTTLS"):
        await sending.send(MAIL)
    assert server.mails == []


async def test_a_user_is_authenticated(chain: tuple[Path, ssl.SSLContext]) -> None:
    file, tls = chain
    with receiving_mail(starttls=tls, auth=True) as server:
        good = client(server.url(user=f"{USER}:{PASSWORD.replace('@', '%40')}@"), file)
        await good.send(MAIL)
        await good.check()
        for user in (f"{USER}:wrong@", ""):
            with pytest.raises(Undelivered, match=r"5\d\d ") as failed:
                await client(server.url(user=user), file).send(MAIL)
            assert "wrong" not in str(failed.value)
            assert not failed.value.is_final  # the settings may be corrected
    assert len(server.mails) == 1


@pytest.mark.parametrize(
    ("replies", "refused", "is_final"),
    [
        (["554 this is spam"], {}, True),
        (["451 come back later"], {}, False),
        ([DROP], {}, False),
        ([], {TO: "550 no such user"}, True),
        ([], {TO: "450 greylisted"}, False),
    ],
    ids=["data-refused", "data-later", "data-dropped", "unknown", "greylisted"],
)
async def test_what_the_server_says_decides_about_another_attempt(
    replies: list[str], refused: dict[str, str], is_final: bool
) -> None:
    with receiving_mail(*replies) as server:
        server.refused = refused
        with pytest.raises(Undelivered) as failed:
            await client(server.url()).send(MAIL)
    assert failed.value.is_final is is_final
    said = [*replies, *refused.values()][0]
    assert said == DROP or said in str(failed.value)


async def test_a_silent_or_absent_server_takes_a_bounded_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"smtp://127.0.0.1:{silent.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(Undelivered, match="in time"):
            await client(url, seconds=0.2).send(MAIL)
        assert time.monotonic() - started < 2.0
    with pytest.raises(Undelivered, match="no answer"):
        await client(url).send(MAIL)
