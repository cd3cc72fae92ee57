"""The outbox of mails: a row for each recipient, taken like the alerts of `outbox.py`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from uuid import NAMESPACE_OID, uuid5

from gateway.alerts.rules.mail_content import AttachedCsv, Mail, MailContent
from gateway.alerts.tables import outbox
from gateway.alerts.tables.thresholds import ABOVE, OWNER
from gateway.database.database import Transaction
from gateway.database.multirow import fetch_named, insert_rows
from gateway.model.caller import ORGANISATION

_ADD = "INSERT INTO mails (id, at_ms, event, recipient, content, next_try_ms)"
_DUE = (
    "SELECT id, at_ms, event, recipient, content, attempts FROM mails WHERE id IN {names} "
    "ORDER BY at_ms, id"
)


@dataclass(frozen=True, slots=True)
class DueMail:
    """A mail to send now, for the `attempt`th time."""

    mail: Mail
    attempt: int


def mail_id(occasion: str, recipient: str) -> str:
    """The id of the mail on this occasion to this recipient, always the same."""
    return f"mail_{uuid5(NAMESPACE_OID, f'{occasion}:{recipient}').hex}"


async def add(tx: Transaction, mails: Iterable[Mail]) -> int:
    """Add mails, due at once; those whose ids are known are left as they are."""
    rows = [
        (each.id, each.at_ms, each.event, each.recipient, json.dumps(asdict(each.content)),
         each.at_ms)
        for each in mails
    ]  # fmt: skip
    for at_ms in {row[1] for row in rows}:
        await tx.fetch("DELETE FROM mails WHERE at_ms < $1", at_ms - outbox.KEPT_MS)
    return len(await insert_rows(tx, _ADD, rows, "ON CONFLICT (id) DO NOTHING RETURNING id"))


async def owner_of(tx: Transaction, account: str) -> str:
    """The owner of the account's team, or ""."""
    if account == ORGANISATION:
        return ""
    rows = await tx.fetch(f"SELECT {OWNER} FROM accounts a {ABOVE}WHERE a.id = $1", account)
    return str(rows[0]["owner"]) if rows else ""


async def take_due(tx: Transaction, *, now_ms: int, lease_ms: int, limit: int) -> Sequence[DueMail]:
    """Lease mails that are due, oldest first, for `lease_ms`."""
    taken = await outbox.take(tx, "mails", limit, now_ms=now_ms, lease_ms=lease_ms)
    found = []
    for row in await fetch_named(tx, _DUE, taken):
        said = json.loads(row["content"])
        attachments = tuple(AttachedCsv(**each) for each in said.pop("attachments"))
        content = MailContent(**said, attachments=attachments)
        mail = Mail(row["id"], row["event"], row["recipient"], content, row["at_ms"])
        found.append(DueMail(mail, row["attempts"]))
    return found


async def delivered(tx: Transaction, due: DueMail, now_ms: int) -> None:
    """Mark a mail as accepted by the server, and forget its content."""
    await outbox.mark_delivered(tx, "mails", due.mail.id, now_ms)
    await tx.fetch("UPDATE mails SET content = '' WHERE id = $1", due.mail.id)


async def postpone(tx: Transaction, due: DueMail, next_try_ms: int | None) -> None:
    """Set the next attempt, or none (None)."""
    await outbox.set_next_try(tx, "mails", due.mail.id, due.attempt, next_try_ms)
