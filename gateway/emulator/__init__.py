"""A stand-in for an upstream that really edits pixels; for demos, drills and tests.

It has the documented interface of DeepShi, or of another provider (`wires/`), keeps its own books,
and can be told to fail in every way in which a provider fails. It imports nothing of the gateway,
so that both can't share a defect.

    with EmulatorServer() as emulator:
        client = OpenAI(base_url=emulator.base_url, api_key=emulator.api_key)
"""

from pathlib import Path

from gateway.emulator.app import create_app
from gateway.emulator.emulator import EmulatorSettings
from gateway.emulator.faults import Knobs, knob_value
from gateway.emulator.refusals import Refused
from gateway.emulator.server import EmulatorServer, run
from gateway.emulator.wires import DEFAULT as DEFAULT_WIRE
from gateway.emulator.wires import WIRES

SAMPLE_PHOTOGRAPH = Path(__file__).with_name("sample.jpg")
"""A small freely licensed photograph to edit; see SAMPLE.md."""

__all__ = [
    "DEFAULT_WIRE", "SAMPLE_PHOTOGRAPH", "WIRES", "EmulatorServer", "EmulatorSettings", "Knobs",
    "Refused", "create_app", "knob_value", "run",
]  # fmt: skip
