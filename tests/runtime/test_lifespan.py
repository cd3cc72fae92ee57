"""The life of a gateway: what it does by itself while it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gateway.accounts.tables import audit
from gateway.accounts.tables.audit import AuditRow
from gateway.database.clock import now_ms
from gateway.emulator import EmulatorServer
from gateway.ledger.tables import reserve_settle, verify
from gateway.ledger.tables.balances import accounts_of
from gateway.model.caller import Caller
from gateway.model.reservation import CallFacts
from gateway.pricing.rules.prices import Quote
from gateway.settings import Settings
from tests.api.admin.api_client import in_force
from tests.support.databases import database_url
from tests.support.engines import postgres_url
from tests.support.serving import in_state, make_key, serving, settings_for

__all__ = ["database_url", "postgres_url"]

HOUR_MS = 3_600_000


def leave(settings: Settings, key_id: str, name: str) -> None:
    """A call of a process that died an hour ago."""
    caller = Caller(key_id, "first", "design", *accounts_of("design", key_id))
    in_state(
        settings,
        lambda tx: reserve_settle.hold(
            tx, Quote(caller, CallFacts(f"req-{name}", "deepshi-image-1"), 20_000_000, 1),
            reservation_id=name, ceiling_nanos=20_000_000, owner_id="gone",
            now_ms=now_ms() - HOUR_MS, zone=settings.zone,
        ),
    )  # fmt: skip


def swept(settings: Settings) -> list[AuditRow]:
    rows = in_state(settings, audit.list_audit)
    return [row for row in rows if row.action == "ledger.resolve"]


def journal_of(log: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.splitlines()]


def test_what_is_settled_for_the_dead_is_in_the_audit_and_in_the_journal(
    tmp_path: Path, emulator: EmulatorServer, database_url: str
) -> None:
    settings = settings_for(tmp_path, emulator, {"state": {"url": database_url}})
    key_id = make_key(settings)
    for number in range(2):
        leave(settings, key_id, f"rsv-{number}")
    with serving(settings) as gateway:
        in_force(lambda: bool(swept(settings)), seconds=10)
        in_force(lambda: "dead process settled" in gateway.log.getvalue())
        log = gateway.log.getvalue()

    (entry,) = swept(settings)
    assert (entry.actor, entry.subject) == ("gateway", "ledger")
    assert entry.new == {"reservations": ["rsv-0", "rsv-1"], "booked_usd": "0.04"}
    (line,) = [each for each in journal_of(log) if "dead process" in each["event"]]
    assert (line["reservations"], line["booked_usd"]) == (["rsv-0", "rsv-1"], "0.04")
    assert in_state(settings, verify.verify).estimated_calls == 2
