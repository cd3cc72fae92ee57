"""How the emulator's tests speak to it: pictures to send, and a client that sends them."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from PIL import Image

from gateway.emulator import EmulatorServer

Files = list[tuple[str, tuple[str, bytes, str]]]

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def picture_file(
    colour: tuple[int, ...] = RED, size: tuple[int, int] = (24, 16), kind: str = "PNG"
) -> bytes:
    """A picture of one colour; four numbers make it transparent."""
    file = io.BytesIO()
    Image.new("RGBA" if len(colour) == 4 else "RGB", size, colour).save(file, kind)
    return file.getvalue()


def striped_file(left: tuple[int, ...], right: tuple[int, ...]) -> bytes:
    """24 by 16 pixels: one half of one colour, the other of another."""
    picture = Image.new("RGBA" if len(left) == 4 else "RGB", (24, 16), left)
    picture.paste(right, (12, 0, 24, 16))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def pictures_in(answer: httpx.Response) -> list[bytes]:
    """The files of a good answer."""
    assert answer.status_code == 200, answer.text
    return [base64.b64decode(item["b64_json"]) for item in answer.json()["data"]]


def opened(content: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(content))
    picture.load()
    return picture


class Caller:
    """An HTTP client with a key, at one emulator."""

    def __init__(self, emulator: EmulatorServer) -> None:
        self.emulator = emulator
        self.http = httpx.Client(
            base_url=emulator.origin,
            headers={"authorization": f"Bearer {emulator.api_key}"},
            timeout=5,
            trust_env=False,
        )

    def edit(
        self,
        prompt: str = "make it grey",
        model: str = "deepshi-image-1",
        references: Sequence[bytes] | None = None,
        mask: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        **fields: str,
    ) -> httpx.Response:
        """One edit; a red picture is sent unless told otherwise."""
        return self.http.post(
            "/v1/images/edits",
            data={"model": model, "prompt": prompt, **fields},
            files=edit_files(references, mask),
            headers=headers,
        )

    def generate(self, prompt: str = "a quiet lake", **fields: Any) -> httpx.Response:
        given = {"model": "deepshi-banana-pro", "prompt": prompt, "size": "32x32", **fields}
        return self.http.post("/v1/images/generations", json=given)

    def stats(self) -> dict[str, Any]:
        stats: dict[str, Any] = self.http.get("/emulator/stats").json()
        return stats

    def order(self, **order: Any) -> httpx.Response:
        return self.http.post("/emulator/faults", json=order)

    def next_call(self, **knobs: Any) -> None:
        """Order one fault for the next call."""
        assert self.order(next=[knobs]).status_code == 200


def edit_files(references: Sequence[bytes] | None = None, mask: bytes | None = None) -> Files:
    sent = [picture_file()] if references is None else references
    files: Files = [("image[]", ("picture.png", content, "image/png")) for content in sent]
    if mask is not None:
        files.append(("mask", ("mask.png", mask, "image/png")))
    return files


def error_of(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of a refusal, once its envelope has been found complete."""
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert answer.headers["content-type"] == "application/json"
    return answer.status_code, error["code"]
