"""The rows of asynchronous requests: accepted, answered, forgotten."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.database.database import Row, Transaction
from gateway.database.multirow import fetch_named
from gateway.model.caller import Caller

_INSERT = (
    "INSERT INTO kept_answers (request_id, key_id, team, end_user, owner_id, accepted_ms) "
    "VALUES ($1, $2, $3, $4, $5, $6)"
)
_END = (
    "UPDATE kept_answers SET ended_ms = $2, status = $3, headers = $4, refusal = $5, stored = $6, "
    "linked = $7 "
    "WHERE request_id = $1"
)
_FIND = (
    "SELECT a.request_id, a.owner_id, a.accepted_ms, a.ended_ms, a.status, a.headers, a.refusal, "
    "a.stored, a.linked, o.heartbeat_ms FROM kept_answers a "
    "LEFT JOIN owners o ON o.id = a.owner_id WHERE a.request_id = $1 AND a.key_id = $2"
)
_EXPIRED = (
    "SELECT request_id FROM kept_answers WHERE accepted_ms < $1 AND ended_ms < $1 AND stored = 1 "
    "ORDER BY accepted_ms LIMIT $2"
)
_OF_USERS = (
    "SELECT request_id FROM kept_answers WHERE (team = $1 OR $1 = '') AND end_user IN {names}"
)
_DELETED = "UPDATE kept_answers SET stored = 0 WHERE request_id IN {names}"
_FORGET = "DELETE FROM kept_answers WHERE request_id IN {names}"


@dataclass(frozen=True, slots=True)
class AnsweredRequest:
    """How an asynchronous request ended. `refusal` is its body, if it is no picture.

    It is answered with links instead of pictures where `linked` says so.
    """

    ended_ms: int
    status: int
    headers: Mapping[str, str]
    refusal: str
    stored: bool
    linked: bool


@dataclass(frozen=True, slots=True)
class AcceptedRequest:
    """An asynchronous request. `heartbeat_ms` is that of its process, None where that has ended."""

    request_id: str
    accepted_ms: int
    heartbeat_ms: int | None
    answer: AnsweredRequest | None

    def is_lost(self, silent_since_ms: int) -> bool:
        """Has its process gone without an answer?"""
        return self.answer is None and (self.heartbeat_ms or 0) < silent_since_ms


async def accept(
    tx: Transaction, request_id: str, caller: Caller, owner_id: str, now_ms: int
) -> None:
    await tx.fetch(
        _INSERT, request_id, caller.key_id, caller.team, caller.end_user, owner_id, now_ms
    )


async def end(tx: Transaction, request_id: str, answer: AnsweredRequest) -> None:
    await tx.fetch(
        _END,
        *(request_id, answer.ended_ms, answer.status, json.dumps(dict(answer.headers))),
        *(answer.refusal, int(answer.stored), int(answer.linked)),
    )


async def find(tx: Transaction, request_id: str, key_id: str) -> AcceptedRequest | None:
    """The asynchronous request of this key."""
    rows = await tx.fetch(_FIND, request_id, key_id)
    return _accepted(rows[0]) if rows else None


async def expired(tx: Transaction, before_ms: int, limit: int) -> list[str]:
    """Requests that ended before this time and whose bodies are still stored, oldest first."""
    return [row["request_id"] for row in await tx.fetch(_EXPIRED, before_ms, limit)]


async def mark_deleted(tx: Transaction, request_ids: Sequence[str]) -> None:
    """Their bodies are no longer stored."""
    await fetch_named(tx, _DELETED, request_ids)


async def sweep(tx: Transaction, before_ms: int) -> None:
    """Forget requests that were accepted before this time."""
    await tx.fetch("DELETE FROM kept_answers WHERE accepted_ms < $1 AND stored = 0", before_ms)


async def of_users(tx: Transaction, names: Sequence[str], team: str) -> list[str]:
    """The requests of these end users, of one team if it is named."""
    return [row["request_id"] for row in await fetch_named(tx, _OF_USERS, names, team)]


async def forget(tx: Transaction, request_ids: Sequence[str]) -> None:
    await fetch_named(tx, _FORGET, request_ids)


def _accepted(row: Row) -> AcceptedRequest:
    answer = None
    if row["ended_ms"] is not None:
        headers = json.loads(row["headers"])
        answer = AnsweredRequest(
            row["ended_ms"],
            row["status"],
            headers,
            row["refusal"],
            bool(row["stored"]),
            bool(row["linked"]),
        )
    return AcceptedRequest(row["request_id"], row["accepted_ms"], row["heartbeat_ms"], answer)
