"""Readiness: which parts of the gateway do not work, though it serves."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.accounts.authenticator import Authenticator
from gateway.cache.result_store import ResultStore
from gateway.database.clock import Clock
from gateway.runtime.services import UpstreamServices

STALE_NOTICE_MS = 5_000


@dataclass(frozen=True, slots=True)
class Readiness:
    """What `/readyz` and the metrics say of the parts."""

    authenticator: Authenticator
    clock: Clock
    upstream: UpstreamServices
    results: ResultStore

    @property
    def state_up(self) -> bool:
        """True if the state was read in the last seconds."""
        read_ms = self.authenticator.loaded_ms
        return read_ms is not None and self.clock() - read_ms <= STALE_NOTICE_MS

    def degraded(self) -> list[str]:
        """One line for each part that does not work at present."""
        client, found = self.upstream.client, []
        if not self.state_up:
            found.append("state: not read lately")
        if self.upstream.catalogue.listing is None:
            found.append("catalogue: never loaded")
        found += [f"upstream: {failure}" for failure in self.upstream.limiter.degradations]
        if refused := client.refused_keys:
            found.append(f"upstream: {refused} of {client.keys} keys refused")
        if self.results.failure:
            found.append(f"results: {self.results.failure}")
        return found
