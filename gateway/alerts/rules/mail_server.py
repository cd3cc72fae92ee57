"""The mail server of a URL, and how the connection to it is secured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote, urlsplit

Security = Literal["tls", "starttls", "starttls_if_offered"]
_PORTS = {"smtp": 587, "smtps": 465}
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
WANTED = (
    "give smtps://USER:PASSWORD@HOST or smtp://HOST:PORT; characters such as @ and / in the "
    "password are written %40 and %2F"
)


@dataclass(frozen=True, slots=True)
class MailServer:
    """A server that takes mail. Certificates are verified wherever there is TLS."""

    host: str
    port: int
    security: Security
    username: str = ""
    password: str = field(default="", repr=False)

    @property
    def name(self) -> str:
        """As it may be shown."""
        return f"{self.host}:{self.port}"


def parse_mail_server(url: str) -> MailServer:
    """The server of `smtps://…` (TLS from the start) or `smtp://…` (STARTTLS).

    STARTTLS is required, except by a server on this machine that does not offer it. Raises
    ValueError, whose text has nothing of the URL.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(WANTED) from None
    host, scheme = parts.hostname or "", parts.scheme
    username, password = unquote(parts.username or ""), unquote(parts.password or "")
    beyond = parts.path.strip("/") or parts.query or parts.fragment
    if scheme not in _PORTS or not host or beyond or bool(username) != bool(password):
        raise ValueError(WANTED)
    security: Security = "starttls"
    if scheme == "smtps":
        security = "tls"
    elif host in _THIS_MACHINE:
        security = "starttls_if_offered"
    return MailServer(host, port or _PORTS[scheme], security, username, password)
