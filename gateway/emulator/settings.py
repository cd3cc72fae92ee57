"""What an emulator is started with."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.emulator.catalogue import MODELS, Model
from gateway.emulator.faults import Knobs


@dataclass(frozen=True, slots=True)
class EmulatorSettings:
    """`keys` are the accepted API keys; `knobs` how a call is served unless told otherwise."""

    keys: tuple[str, ...] = ("sk-emulator",)
    knobs: Knobs = field(default_factory=Knobs)
    models: tuple[Model, ...] = MODELS
