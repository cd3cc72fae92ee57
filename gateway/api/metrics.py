"""`/metrics`: for the holder of its token, or without one for this machine."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress

from gateway.accounts.rules.guess_throttle import GuessThrottle
from gateway.model.errors import Refusal
from gateway.runtime.collectors import GaugeCollector
from gateway.runtime.context import Context
from gateway.server.exchange import Exchange


class MetricsEndpoint:
    def __init__(self, context: Context, gauges: GaugeCollector) -> None:
        self._context, self._gauges = context, gauges
        self._throttle = GuessThrottle()

    async def show_metrics(self, exchange: Exchange) -> None:
        self._check_permission(exchange)
        self._gauges.update_process()
        accept = exchange.headers.get("accept", "")
        body, content_type = await asyncio.to_thread(self._context.metrics.exposition, accept)
        headers = {"content-type": content_type, "x-request-id": exchange.request_id}
        await exchange.answer(200, headers, body)

    def _check_permission(self, exchange: Exchange) -> None:
        token = self._context.settings.metrics.token.get_secret_value()
        if token:
            self._throttle.check(exchange.address, self._context.clock())
            sent = exchange.headers.get("authorization", "").removeprefix("Bearer ")
            allowed = hmac.compare_digest(sent.encode(), token.encode())
        else:
            allowed = _is_loopback(exchange)
        if not allowed:
            self._throttle.failed(exchange.address, self._context.clock())
            raise Refusal(
                "permission_denied",
                "Metrics are read with the token of [metrics] token, or without one from this "
                "machine alone.",
            )


def _is_loopback(exchange: Exchange) -> bool:
    """Did this come from this very machine, and not through a proxy that runs on it?"""
    forwarded = {"forwarded", "x-forwarded-for", "x-real-ip", "via"} & exchange.headers.keys()
    try:
        return not forwarded and ipaddress.ip_address(exchange.address).is_loopback
    except ValueError:
        return False
