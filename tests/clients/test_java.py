"""Java's default HttpClient, which offers HTTP/2 (`Upgrade: h2c`) with the body."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from gateway.emulator import EmulatorServer
from tests.clients.conftest import Prompt
from tests.support.bodies import file, form, form_type, text
from tests.support.serving import KEY, PHOTOGRAPH, Served

pytestmark = pytest.mark.skipif(not shutil.which("java"), reason="there is no java here")
CLIENT = Path(__file__).parent / "java_client.java"


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_an_edit_by_the_default_client_works(
    lasting: Served,
    emulator: EmulatorServer,
    new_prompt: Prompt,
    tmp_path: Path,
    framing: str,
) -> None:
    body = tmp_path / "body"
    fields = [text("model", "deepshi-image-1"), text("prompt", new_prompt())]
    body.write_bytes(form([*fields, file("image[]", PHOTOGRAPH)]))
    done = subprocess.run(
        ["java", CLIENT, f"{lasting.base_url}/images/edits", KEY, form_type(), body, framing],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip

    status, _, answer = done.stdout.partition("\n")
    assert status == "200", done.stdout[:500] + done.stderr
    assert json.loads(answer)["data"]
    assert json.loads(answer)["usage"]["total_tokens"] == 0
