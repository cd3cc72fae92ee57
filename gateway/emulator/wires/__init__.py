"""The interfaces that the emulator plays: one module each, and the table of their names."""

from collections.abc import Mapping

from gateway.emulator.wires.azure import Azure
from gateway.emulator.wires.deepshi import DeepShi
from gateway.emulator.wires.gemini import Gemini
from gateway.emulator.wires.openai import OpenAI
from gateway.emulator.wires.openrouter import OpenRouter
from gateway.emulator.wires.wire import Wire
from gateway.emulator.wires.xai import XAI

DEFAULT = "deepshi"
WIRES: Mapping[str, Wire] = {
    DEFAULT: DeepShi(),
    "openai": OpenAI(),
    "azure": Azure(),
    "openrouter": OpenRouter(),
    "xai": XAI(),
    "gemini": Gemini(),
}

__all__ = ["DEFAULT", "WIRES", "Wire"]
