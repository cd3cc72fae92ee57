"""Readiness: which parts of the gateway do not work, though it serves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.accounts.authenticator import Authenticator
from gateway.cache.result_store import ResultStore
from gateway.database.sqlite.connection import log_of
from gateway.runtime.background_tasks import BackgroundTasks
from gateway.runtime.process_context import ProcessContext
from gateway.runtime.services import UpstreamServices

LONG_LOG_BYTES = 128 * 2**20
"""Twice the size to which SQLite truncates the log once it is emptied."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """What `/readyz` and the metrics say of the parts."""

    authenticator: Authenticator
    context: ProcessContext
    upstreams: Mapping[str, UpstreamServices]
    results: ResultStore
    background: BackgroundTasks

    @property
    def state_up(self) -> bool:
        """True if the state was read in the last seconds, and no write has failed in them."""
        return not self._state_problem

    @property
    def _state_problem(self) -> str:
        if problem := self.context.database.problem:
            return problem
        behind = self.authenticator.is_behind(self.context.clock())
        return "not read lately" if behind else ""

    @property
    def log_bytes(self) -> int | None:
        """The size of SQLite's write-ahead log; None for PostgreSQL."""
        file = self.context.settings.state.sqlite_file
        if file is None:
            return None
        try:
            return log_of(file).stat().st_size
        except OSError:
            return 0

    def degraded(self) -> list[str]:
        """One line for each part that does not work at present."""
        found = []
        if problem := self._state_problem:
            found.append(f"state: {problem}")
        if paused := self.authenticator.paused:
            found.append(f"spending: paused for {paused}")
        if (log_bytes := self.log_bytes or 0) > LONG_LOG_BYTES:
            found.append(
                f"state: its write-ahead log has {log_bytes:,} bytes; a long read, such as an "
                "export or a backup, keeps it from being emptied"
            )
        found += self.background.problems
        for upstream in self.upstreams.values():
            found += self._of_upstream(upstream)
        if self.results.failure:
            found.append(f"results: {self.results.failure}")
        return found

    def _of_upstream(self, upstream: UpstreamServices) -> list[str]:
        found, client = [], upstream.client
        of_several = f" {upstream.settings.name}" if len(self.upstreams) > 1 else ""
        if upstream.catalogue.listing is None:
            found.append(f"catalogue{of_several}: never loaded")
        problems = list(upstream.limiter.degradations)
        if refused := client.refused_keys:
            problems.append(f"{refused} of {client.keys} keys refused")
        return found + [f"upstream{of_several}: {problem}" for problem in problems]
