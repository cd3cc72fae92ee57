"""A real SMTP server that takes mail, and refuses, fails or breaks as it is told."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any, cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.project.test_readme import free_port

DROP = "drop"
WAIT_SECONDS = 10.0
USER, PASSWORD = "gateway", "pass@word"


@dataclass
class MailServer:
    """Answers DATA with `replies` in turn, then 250; DROP keeps the mail and breaks off."""

    replies: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    """The reply to a recipient, by its address."""
    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    """Those that arrived, whatever was replied."""
    recipients: list[str] = field(default_factory=list)
    secured: list[bool] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def url(self, scheme: str = "smtp", user: str = "") -> str:
        return f"{scheme}://{user}127.0.0.1:{self.port}"

    def subjects(self, to: str) -> list[str]:
        """Without the space that a folded header begins with."""
        return [mail["Subject"].strip() for mail in self.mails if mail["To"] == to]

    def wait_for(self, number: int) -> list[EmailMessage]:
        with self.changed:
            self.changed.wait_for(lambda: len(self.mails) >= number, WAIT_SECONDS)
        return self.mails

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if reply := self.refused.get(address):
            return reply
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        with self.changed:
            reply = self.replies.pop(0) if self.replies else "250 OK"
            content = cast(bytes, envelope.content)
            message = message_from_bytes(content, policy=default)
            assert isinstance(message, EmailMessage)
            self.mails.append(message)
            self.recipients += envelope.rcpt_tos
            assert server.transport
            self.secured.append(server.transport.get_extra_info("sslcontext") is not None)
            self.changed.notify_all()
        if reply == DROP:
            cast(asyncio.Transport, server.transport).abort()
        return reply


def _authenticate(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
) -> AuthResult:
    known = LoginPassword(USER.encode(), PASSWORD.encode())
    return AuthResult(success=data == known, handled=False)


@contextmanager
def receiving_mail(
    *replies: str,
    tls: ssl.SSLContext | None = None,
    starttls: ssl.SSLContext | None = None,
    auth: bool = False,
) -> Iterator[MailServer]:
    """A server on a thread; `tls` from the start, or `starttls` where a client asks for it."""
    found = MailServer(list(replies), port=free_port())
    controller = Controller(
        found,
        hostname="127.0.0.1",
        port=found.port,
        ssl_context=tls,
        tls_context=starttls,
        require_starttls=starttls is not None,
        auth_required=auth,
        authenticator=_authenticate,
    )
    controller.start()
    try:
        yield found
    finally:
        controller.stop()
