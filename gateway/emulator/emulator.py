"""The state of one emulator: its settings, its books, and the faults it was told to show."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.emulator.billing import Books, billed_nanos, time_text, usd
from gateway.emulator.catalogue import MODELS, Model
from gateway.emulator.faults import Faults, Knobs
from gateway.emulator.latency import Waits
from gateway.emulator.pixels import Encoded
from gateway.emulator.refusals import Refused
from gateway.emulator.request_body import Asked

_KEPT_FILES = 64


@dataclass(frozen=True, slots=True)
class EmulatorSettings:
    """`keys` are the accepted API keys, `knobs` the default of every call."""

    keys: tuple[str, ...] = ("sk-emulator",)
    knobs: Knobs = field(default_factory=Knobs)
    models: tuple[Model, ...] = MODELS


@dataclass(frozen=True, slots=True)
class Job:
    """One call: its caller, its request, and its faults."""

    request_id: str
    credential: str
    asked: Asked
    knobs: Knobs
    client_request_id: str
    """The header `x-client-request-id`, or ""."""

    @property
    def cost_nanos(self) -> int:
        """What the call costs if it is billed."""
        return billed_nanos(self.knobs.cost, self.asked.model.price_nanos * self.asked.n)


class Emulator:
    """All state of one emulator; used from its event loop only."""

    def __init__(self, settings: EmulatorSettings) -> None:
        self.models = settings.models
        self.faults = Faults(settings.knobs)
        self.books = Books()
        self.waits = Waits()
        self.files: dict[str, Encoded] = {}
        """The latest pictures that were answered by address."""
        self._keys = settings.keys

    def model(self, name: str) -> Model:
        """The model of this name. Raises Refused (404)."""
        for model in self.models:
            if model.id == name:
                return model
        raise Refused(404, "model_not_found", f"The model '{name}' does not exist.", "model")

    def credential(self, headers: Mapping[str, str]) -> str:
        """The last characters of the caller's key. Raises Refused (401) without a good one."""
        scheme, _, key = headers.get("authorization", "").partition(" ")
        offered = key.strip().encode()
        known = (secrets.compare_digest(offered, good.encode()) for good in self._keys)
        if scheme.lower() != "bearer" or not offered or not any(known):
            raise Refused(401, "invalid_api_key", "Incorrect API key provided.")
        return key.strip()[-4:]

    def charge(self, job: Job, status: int = 200) -> None:
        """Bill a call that is answered with `status`."""
        self.books.charges.append(
            {
                "request_id": job.request_id,
                "time": time_text(),
                "model": job.asked.model.id,
                "route": job.asked.route,
                "n": job.asked.n,
                "cost_usd": usd(job.cost_nanos),
                "cost_nanos": job.cost_nanos,
                "credential": job.credential,
                "status": status,
                "client_request_id": job.client_request_id,
            }
        )

    def keep_file(self, picture: Encoded) -> str:
        """Keep a picture under a name that can't be guessed; the oldest one goes."""
        name = f"{secrets.token_hex(12)}.{picture.format}"
        self.files[name] = picture
        if len(self.files) > _KEPT_FILES:
            del self.files[next(iter(self.files))]
        return name

    def reset(self) -> None:
        """As after a start: no faults, empty books, no files."""
        self.faults.clear()
        self.books.clear()
        self.files.clear()
