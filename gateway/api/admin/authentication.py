"""Authentication of admin tokens. Wrong tokens are logged, and guessing is slowed down."""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Callable

from gateway.accounts.credentials import hash_secret
from gateway.accounts.rules.guess_throttle import GuessThrottle
from gateway.accounts.tables.tokens import find_token
from gateway.api.admin.token_holder import ROOT, TokenHolder, holder_of
from gateway.database.database import Database
from gateway.model.errors import Refusal
from gateway.server.exchange import Exchange
from gateway.telemetry.log import EventLog

MOST_ACCEPTED = 1_000


class AdminAuthenticator:
    """Compares with the root token, and looks up every other token in the state.

    After too many wrong tokens, an address is refused until the minute ends, also with the right
    token, so that a guesser does not learn it. A token that was accepted from that address
    before stays accepted: a guesser behind a proxy does not lock out others behind it.
    """

    def __init__(
        self, root: str, database: Database, log: EventLog, now_ms: Callable[[], int]
    ) -> None:
        self._root = root
        self._database = database
        self._log = log
        self._now_ms = now_ms
        self._throttle = GuessThrottle()
        self._accepted: OrderedDict[tuple[str, str], None] = OrderedDict()

    async def authenticate(self, exchange: Exchange) -> TokenHolder:
        """The holder of the token that was sent.

        Raises `not_found` where the admin API is switched off, `invalid_api_key`,
        `too_many_failures`, and StateUnavailable.
        """
        if not self._root:
            raise Refusal(
                "not_found",
                "The admin API is switched off. To switch it on, set a root token in "
                "GATEWAY_ADMIN_TOKEN (or [admin] token) and restart the gateway.",
            )
        sent = _token_sent(exchange)
        sender = (exchange.address, hash_secret(sent))
        if sender not in self._accepted:
            self._throttle.check(exchange.address, self._now_ms())
        # In constant time; neither is empty.
        is_root = hmac.compare_digest(sent.encode("latin-1"), self._root.encode())
        holder = ROOT if is_root else await self._find(sender[1])
        if holder is None:
            self._accepted.pop(sender, None)
            self._failed(exchange)
            raise Refusal(
                "invalid_api_key",
                "This is no valid admin token: it is unknown or revoked, or its team is archived. "
                "API keys of teams are for /v1, not for /admin/v1.",
            )
        self._remember(sender)
        return holder

    async def _find(self, secret_hash: str) -> TokenHolder | None:
        token = await self._database.read(lambda tx: find_token(tx, secret_hash))
        return holder_of(token) if token else None

    def _failed(self, exchange: Exchange) -> None:
        """Logs without the token, which may be valid elsewhere."""
        self._log.warning(
            "admin token refused", address=exchange.address, request_id=exchange.request_id
        )
        self._throttle.failed(exchange.address, self._now_ms())

    def _remember(self, sender: tuple[str, str]) -> None:
        self._accepted[sender] = None
        self._accepted.move_to_end(sender)
        if len(self._accepted) > MOST_ACCEPTED:
            self._accepted.popitem(last=False)


def _token_sent(exchange: Exchange) -> str:
    scheme, _, rest = exchange.headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() != "bearer" or not rest.strip():
        raise Refusal(
            "invalid_api_key",
            "Send an admin token in the header `Authorization: Bearer TOKEN`.",
        )
    return rest.strip()
