"""A stand-in for DeepShi that really edits pixels; for demos, drills and tests.

It speaks the documented wire, keeps its own bill, and can be told to fail in every way a
provider fails. It imports nothing of the rest of the gateway, so that it shares no mistake
with what it checks.

    with EmulatorServer() as emulator:
        client = OpenAI(base_url=emulator.base_url, api_key=emulator.api_key)
"""

from pathlib import Path

from gateway.emulator.app import create_app
from gateway.emulator.catalogue import MODELS, Model
from gateway.emulator.faults import Knobs, knob_value
from gateway.emulator.refusals import Refused
from gateway.emulator.server import EmulatorServer, run
from gateway.emulator.settings import EmulatorSettings

SAMPLE_PHOTOGRAPH = Path(__file__).with_name("sample.jpg")
"""A small freely licensed photograph to edit; see SAMPLE.md."""

__all__ = [
    "MODELS",
    "SAMPLE_PHOTOGRAPH",
    "EmulatorServer",
    "EmulatorSettings",
    "Knobs",
    "Model",
    "Refused",
    "create_app",
    "knob_value",
    "run",
]
