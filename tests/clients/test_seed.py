"""The upstream's own documented calls, word for word but for URL and key."""

from __future__ import annotations

import base64
import io
import json
import subprocess
from pathlib import Path

import openai
import pytest
from openai import OpenAI
from PIL import Image

from gateway.emulator import EmulatorServer
from tests.support.serving import KEY, PHOTOGRAPH, Running
from tests.support.upstreams import png

ONE_REFERENCE = """curl {base_url}/images/edits \\
  -H "Authorization: Bearer $DEEPSHI_API_KEY" \\
  -F model="deepshi-image-1" \\
  -F prompt="remove the person on the left" \\
  -F 'image[]=@input.png'
"""
TWO_REFERENCES = """curl {base_url}/images/edits \\
  -H "Authorization: Bearer $DEEPSHI_API_KEY" \\
  -F model="deepshi-image-1" \\
  -F prompt="combine these into one scene" \\
  -F 'image[]=@first.png' \\
  -F 'image[]=@second.png'
"""


@pytest.mark.parametrize("command", [ONE_REFERENCE, TWO_REFERENCES])
def test_the_documented_curl_works(
    gateway: Running, emulator: EmulatorServer, tmp_path: Path, command: str
) -> None:
    for index, name in enumerate(("input.png", "first.png", "second.png")):
        (tmp_path / name).write_bytes(png(16 + index, 16))
    done = subprocess.run(
        ["bash", "-c", command.format(base_url=gateway.base_url)],
        cwd=tmp_path, env={"DEEPSHI_API_KEY": KEY, "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    answer = json.loads(done.stdout)
    assert base64.b64decode(answer["data"][0]["b64_json"]).startswith(b"\x89PNG")
    assert answer["usage"]["cost"]["total_cost"] == 0.01
    assert emulator.stats()["billed_calls"] == 1


def test_the_documented_python_works(
    gateway: Running, emulator: EmulatorServer, tmp_path: Path
) -> None:
    (tmp_path / "input.jpg").write_bytes(PHOTOGRAPH)
    pictures = []
    with OpenAI(base_url=gateway.base_url, api_key=KEY) as client:
        for _ in range(2):
            with (tmp_path / "input.jpg").open("rb") as image:
                resp = client.images.edit(
                    model="deepshi-image-1",
                    prompt="remove the person on the left",
                    image=image,
                )
            assert resp.data is not None
            pictures.append(base64.b64decode(resp.data[0].b64_json or ""))

    assert pictures[0] == pictures[1]
    assert Image.open(io.BytesIO(pictures[0])).size == Image.open(io.BytesIO(PHOTOGRAPH)).size
    assert emulator.stats()["billed_calls"] == 1


def test_a_refusal_is_the_sdk_s_own_exception_and_is_not_retried(
    gateway: Running, emulator: EmulatorServer
) -> None:
    with (
        OpenAI(base_url=gateway.base_url, api_key=KEY) as client,
        pytest.raises(openai.BadRequestError) as caught,
    ):
        client.images.edit(
            model="deepshi-image-1", prompt="too many", image=[png(4, 4 + i) for i in range(6)]
        )

    assert caught.value.code == "too_many_reference_images"
    assert caught.value.request_id
    assert caught.value.request_id.startswith("req_")
    assert emulator.stats()["calls"] == 0


def test_a_failure_that_may_have_been_charged_is_not_retried_by_the_sdk(
    gateway: Running, emulator: EmulatorServer
) -> None:
    emulator.order(always={"status": 500, "bill": True})
    with (
        OpenAI(base_url=gateway.base_url, api_key=KEY) as client,
        pytest.raises(openai.InternalServerError),
    ):
        client.images.edit(model="deepshi-image-1", prompt="fails", image=PHOTOGRAPH)

    assert emulator.stats()["calls"] == 1
