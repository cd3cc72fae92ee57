"""The MIME message of a mail."""

from __future__ import annotations

from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from gateway.alerts.rules.mail_addresses import domain_of
from gateway.alerts.rules.mail_content import Mail, one_line

_POLICY = SMTP.clone(cte_type="7bit")  # not every server takes 8-bit text


def message_bytes(mail: Mail, sender: str) -> bytes:
    """The message in MIME. Header fields have no line break, whatever a name contains."""
    content, message = mail.content, EmailMessage(policy=_POLICY)
    message["From"] = f"Image gateway <{sender}>"
    message["To"] = mail.recipient
    message["Subject"] = one_line(content.subject)
    message["Date"] = format_datetime(datetime.fromtimestamp(mail.at_ms // 1000, UTC))
    message["Message-ID"] = f"<{mail.id}@{domain_of(sender)}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(content.text)
    message.add_alternative(content.html, subtype="html")
    for attachment in content.attachments:
        message.add_attachment(attachment.csv, subtype="csv", filename=attachment.name)
    return message.as_bytes()
