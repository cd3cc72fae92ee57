"""The provider as a whole: its settings, its books, and what it was told to do wrong."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.emulator.billing import Books, Charge, billed_nanos
from gateway.emulator.catalogue import Model
from gateway.emulator.faults import Faults, Knobs
from gateway.emulator.files import Files
from gateway.emulator.latency import Waits
from gateway.emulator.refusals import Refused
from gateway.emulator.request_body import Asked
from gateway.emulator.settings import EmulatorSettings


@dataclass(frozen=True, slots=True)
class Job:
    """One call that is being served: who asks, for what, and how it shall go."""

    request_id: str
    credential: str
    asked: Asked
    knobs: Knobs
    client_request_id: str = ""
    """What the client calls the request, if it says (`x-client-request-id`)."""

    @property
    def cost_nanos(self) -> int:
        """What the call costs where it is billed."""
        price = self.asked.model.price_nanos * self.asked.n
        return billed_nanos(self.knobs.cost, price)


class Emulator:
    """All state of one emulator; touched from its event loop only."""

    def __init__(self, settings: EmulatorSettings) -> None:
        self.models: tuple[Model, ...] = settings.models
        self.faults = Faults(settings.knobs)
        self.books = Books()
        self.waits = Waits()
        self.files = Files()
        self._keys = settings.keys

    def credential(self, headers: Mapping[str, str]) -> str:
        """The last characters of the caller's key; raises Refused (401) without a good one."""
        scheme, _, key = headers.get("authorization", "").partition(" ")
        offered = key.strip().encode()
        known = (secrets.compare_digest(offered, good.encode()) for good in self._keys)
        if scheme.lower() != "bearer" or not offered or not any(known):
            raise Refused(401, "invalid_api_key", "Incorrect API key provided.")
        return key.strip()[-4:]

    def charge(self, job: Job, status: int = 200) -> None:
        """Write a call on the bill: this is the moment at which the provider charges."""
        asked = job.asked
        self.books.charges.append(
            Charge(
                request_id=job.request_id,
                time=datetime.now(UTC),
                model=asked.model.id,
                route=asked.route,
                n=asked.n,
                cost_nanos=job.cost_nanos,
                credential=job.credential,
                status=status,
                client_request_id=job.client_request_id,
            )
        )

    def reset(self) -> None:
        """As after a start: no faults, empty books, no files."""
        self.faults.clear()
        self.books.clear()
        self.files.clear()
