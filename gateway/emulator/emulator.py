"""The state of one emulator: its settings, its books, and the faults it was told to show."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gateway.emulator.billing import Books, time_text, usd
from gateway.emulator.catalogue import Model
from gateway.emulator.faults import Faults, Knobs
from gateway.emulator.job import Job
from gateway.emulator.latency import Waits
from gateway.emulator.pixels import Encoded
from gateway.emulator.wires import DEFAULT, WIRES

_KEPT_FILES = 64


@dataclass(frozen=True, slots=True)
class EmulatorSettings:
    """`keys` are the accepted API keys, `knobs` the default of every call.

    `api` names the provider's interface, a row of `WIRES`. A `sandbox` takes any model's name, and
    keeps no books.
    """

    keys: tuple[str, ...] = ("sk-emulator",)
    knobs: Knobs = field(default_factory=Knobs)
    api: str = DEFAULT
    sandbox: bool = False


class Emulator:
    """All state of one emulator; used from its event loop only."""

    def __init__(self, settings: EmulatorSettings) -> None:
        self.wire = WIRES[settings.api]
        self.faults = Faults(settings.knobs)
        self.books = Books()
        self.waits = Waits()
        self.files: dict[str, tuple[Encoded, int | None]] = {}
        """The latest pictures that were answered by address; a status is an error instead."""
        self._keys = settings.keys
        self._sandbox = settings.sandbox

    def model(self, name: str) -> Model:
        """The model of this name. Raises Refused."""
        for model in self.wire.models:
            if model.id == name:
                return model
        if self._sandbox:
            return replace(next(each for each in self.wire.models if each.can_edit), id=name)
        raise self.wire.no_such_model(name)

    def credential(self, headers: Mapping[str, str]) -> str:
        """The last characters of the caller's key. Raises Refused without a good one."""
        key = self.wire.key(headers).strip()
        known = (secrets.compare_digest(key.encode(), good.encode()) for good in self._keys)
        if not key or not any(known):
            raise self.wire.wrong_key()
        return key[-4:]

    def charge(self, job: Job, status: int = 200) -> None:
        """Bill a call that is answered with `status`."""
        if self._sandbox:
            return
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

    def keep_file(self, picture: Encoded, error_status: int | None) -> str:
        """Keep a picture under a name that can't be guessed; the oldest one goes."""
        name = f"{secrets.token_hex(12)}.{picture.format}"
        self.files[name] = picture, error_status
        if len(self.files) > _KEPT_FILES:
            del self.files[next(iter(self.files))]
        return name

    def reset(self) -> None:
        """As after a start: no faults, empty books, no files."""
        self.faults.clear()
        self.books.clear()
        self.files.clear()
