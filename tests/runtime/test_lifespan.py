"""The life of a gateway: what it does by itself while it runs."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from gateway.accounts.tables import audit
from gateway.accounts.tables.audit import AuditRow
from gateway.database.clock import now_ms
from gateway.database.database import Operation
from gateway.emulator import EmulatorServer
from gateway.ledger.rules.abandonment import HEARTBEAT_EXPIRY_MS
from gateway.ledger.tables import reserve_settle, unresolved_reservations, verify
from gateway.ledger.tables.balances import accounts_of
from gateway.ledger.tables.unresolved_reservations import Owner
from gateway.model.caller import Caller
from gateway.model.reservation import CallFacts
from gateway.pricing.rules.ceilings import Quote
from gateway.settings import Settings
from tests.api.admin.api_client import in_force
from tests.support.databases import database_url
from tests.support.engines import postgres_url
from tests.support.serving import in_state, make_key, serving, settings_for

__all__ = ["database_url", "postgres_url"]

HOUR_MS = 3_600_000


def leave(
    settings: Settings,
    key_id: str,
    name: str,
    *,
    owner_id: str = "gone",
    made_ms: int | None = None,
) -> None:
    """A call of a process that died an hour ago."""
    caller = Caller(key_id, "first", "design", *accounts_of("design", key_id))
    in_state(
        settings,
        lambda tx: reserve_settle.hold(
            tx, Quote(caller, CallFacts(f"req-{name}", "deepshi-image-1"), 20_000_000, 1),
            reservation_id=name, ceiling_nanos=20_000_000, owner_id=owner_id,
            now_ms=made_ms or now_ms() - HOUR_MS, zone=settings.zone,
        ),
    )  # fmt: skip


def beat_of(owner: Owner, at_ms: int) -> Operation[None]:
    return lambda tx: unresolved_reservations.beat(tx, owner, at_ms)


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


def test_money_of_a_killed_process_of_this_host_is_settled_when_its_heartbeat_has_expired(
    tmp_path: Path, emulator: EmulatorServer, database_url: str
) -> None:
    settings = settings_for(tmp_path, emulator, {"state": {"url": database_url}})
    key_id = make_key(settings)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    silent_ms = now_ms() - HEARTBEAT_EXPIRY_MS - 1_000
    host = socket.gethostname()
    owners = {
        "dead": Owner("dead", host, dead.pid, silent_ms),
        "frozen": Owner("frozen", host, os.getpid(), silent_ms + 3_600_000),
        "replaced": Owner("replaced", "elsewhere", 7, silent_ms),
        "unknown": Owner("unknown", "elsewhere", 8, silent_ms),
    }
    for owner in (*owners.values(), Owner("successor", "elsewhere", 7, silent_ms + 1)):
        in_state(settings, beat_of(owner, silent_ms))
    for name in owners:
        leave(settings, key_id, f"rsv-{name}", owner_id=name, made_ms=silent_ms)
    with serving(settings):
        in_force(lambda: bool(swept(settings)), seconds=10)

    (entry,) = swept(settings)
    assert entry.new["reservations"] == ["rsv-dead", "rsv-replaced"]
    assert in_state(settings, verify.verify).open_reservations == 2
