"""Who holds the token that was sent. Guessing at tokens is slowed down, and is in the journal."""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Callable

from gateway.accounts.credentials import hash_secret
from gateway.accounts.rules.guess_throttle import GuessThrottle
from gateway.accounts.tables.tokens import TokenRecord, find_token
from gateway.api.admin.permissions import ROOT, Holder, holder_of
from gateway.database.database import Database, Transaction
from gateway.model.errors import Refusal
from gateway.server.exchange import Exchange
from gateway.telemetry.log import EventLog

MOST_REMEMBERED = 1_000


class AdminAuthenticator:
    """Knows the root token, and asks the state for every other.

    Where many wrong tokens came from an address, none from there is looked at until the minute
    is over, not even the root token: who guesses would else be told of the right one at once.
    A token that has opened before from that address goes on, so that a guesser behind a proxy
    does not lock out those who work behind it.
    """

    def __init__(
        self, root: str, database: Database, log: EventLog, now_ms: Callable[[], int]
    ) -> None:
        self._root = root
        self._database = database
        self._log = log
        self._now_ms = now_ms
        self._throttle = GuessThrottle()
        self._opened: OrderedDict[tuple[str, str], None] = OrderedDict()

    async def enter(self, exchange: Exchange) -> Holder:
        """The holder of its token.

        Raises `not_found` where there is no admin API, `invalid_api_key`, `too_many_failures`,
        and StateUnavailable.
        """
        if not self._root:
            raise Refusal(
                "not_found",
                "The admin API is switched off. To switch it on, set a root token in "
                "GATEWAY_ADMIN_TOKEN (or [admin] token) and restart the gateway.",
            )
        sent = _token_sent(exchange)
        coming = (exchange.address, hash_secret(sent))
        if coming not in self._opened:
            self._throttle.check(exchange.address, self._now_ms())
        holder = ROOT if _same(sent, self._root) else await self._find(hash_secret(sent))
        if holder is None:
            self._opened.pop(coming, None)
            self._failed(exchange)
            raise Refusal(
                "invalid_api_key",
                "This is no admin token, or it was revoked, or its team is archived. An API key "
                "of a team opens /v1, not /admin/v1.",
            )
        self._remember(coming)
        return holder

    async def _find(self, secret_hash: str) -> Holder | None:
        async def find(tx: Transaction) -> TokenRecord | None:
            return await find_token(tx, secret_hash)

        token = await self._database.read(find)
        return holder_of(token) if token else None

    def _failed(self, exchange: Exchange) -> None:
        """Written without the token, which may be a right one of somewhere else."""
        self._log.warning(
            "admin token refused", address=exchange.address, request_id=exchange.request_id
        )
        self._throttle.failed(exchange.address, self._now_ms())

    def _remember(self, coming: tuple[str, str]) -> None:
        self._opened[coming] = None
        self._opened.move_to_end(coming)
        if len(self._opened) > MOST_REMEMBERED:
            self._opened.popitem(last=False)


def _token_sent(exchange: Exchange) -> str:
    scheme, _, rest = exchange.headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() != "bearer" or not rest.strip():
        raise Refusal(
            "invalid_api_key",
            "Send an admin token in the header `Authorization: Bearer TOKEN`.",
        )
    return rest.strip()


def _same(sent: str, root: str) -> bool:
    """Is it the root token? Takes as long wherever the two differ.

    Two empty texts would be the same: whoever calls has made sure that neither is empty.
    """
    return hmac.compare_digest(sent.encode("latin-1"), root.encode())
