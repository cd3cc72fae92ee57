"""Mail over aiosmtplib: one message to one recipient, within a bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from gateway.alerts.certificates import tls_context
from gateway.alerts.rules.mail_addresses import domain_of
from gateway.alerts.rules.mail_content import Mail, one_line
from gateway.alerts.rules.mail_server import MailServer, Security
from gateway.alerts.undelivered import Undelivered

if TYPE_CHECKING:
    import ssl

    from aiosmtplib import SMTP

TIMEOUT_SECONDS = 30.0
_START_TLS: dict[Security, bool | None] = {
    "tls": False,
    "starttls": True,
    "starttls_if_offered": None,
}


class MailClient:
    """Sends by one server, as one sender. A new connection for each mail."""

    def __init__(
        self,
        server: MailServer,
        sender: str,
        *,
        ca_bundle: str = "",
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self.server = server
        self._sender, self._ca_bundle = sender, ca_bundle
        self._timeout_seconds = timeout_seconds

    async def send(self, mail: Mail) -> None:
        """Send it once. Raises Undelivered."""
        from gateway.alerts.mail_message import message_bytes  # the whole of `email`

        message = message_bytes(mail, self._sender)
        async with self._connected() as smtp:
            await smtp.sendmail(self._sender, [mail.recipient], message)

    async def check(self) -> None:
        """Connect and authenticate; send nothing. Raises Undelivered."""
        async with self._connected() as smtp:
            await smtp.noop()

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[SMTP]:
        """A connection that is secured and authenticated; what fails is Undelivered."""
        tls = await asyncio.to_thread(lambda: self._tls)  # the first use is slow
        import aiosmtplib

        server = self.server
        smtp = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.username or None,
            password=server.password or None,
            local_hostname=domain_of(self._sender),
            use_tls=server.security == "tls",
            start_tls=_START_TLS[server.security],
            tls_context=tls,
            timeout=self._timeout_seconds,
        )
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await smtp.connect()
                yield smtp
        except TimeoutError:
            raise Undelivered("no answer in time") from None
        except aiosmtplib.SMTPRecipientsRefused as error:
            refused = error.recipients[0]
            raise _undelivered(refused.code, refused.message, is_final=True) from None
        except aiosmtplib.SMTPDataError as error:
            raise _undelivered(error.code, error.message, is_final=True) from None
        except aiosmtplib.SMTPResponseException as error:
            raise _undelivered(error.code, error.message) from None
        except (aiosmtplib.SMTPException, OSError) as error:
            reason = one_line(str(error)) or type(error).__name__
            raise Undelivered(f"no answer: {reason}") from None
        finally:
            smtp.close()  # what was accepted is accepted: QUIT adds nothing

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return tls_context(filter(None, [self._ca_bundle]))


def _undelivered(code: int, message: str, *, is_final: bool = False) -> Undelivered:
    """A refusal by the server; one of 4xx is for now, whatever it refuses."""
    return Undelivered(f"it answered {code} {one_line(message)}", is_final=is_final and code >= 500)
