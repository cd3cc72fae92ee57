"""curl, and what went over the wire."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.serving import KEY, Served

CHUNKED = ("-H", "Transfer-Encoding: chunked")


@dataclass(frozen=True)
class Answer:
    """What came back, and the heads of everything that went over the wire."""

    status: int
    headers: dict[str, str]
    body: Any
    sent: str
    """The request's own head."""
    received: str
    """Every head of an answer, `100 Continue` too."""
    sent_bytes: int

    @property
    def picture(self) -> str:
        text: str = self.body["data"][0]["b64_json"]
        return text

    @property
    def code(self) -> str:
        text: str = self.body["error"]["code"]
        return text


@dataclass(frozen=True)
class Curl:
    """curl in the folder of the pictures, against one gateway."""

    gateway: Served
    pictures: Path

    def __call__(
        self, *arguments: str, path: str = "/images/edits", key: str = KEY, feed: str = ""
    ) -> Answer:
        """Run it; `feed` is a shell command whose output curl reads from a pipe."""
        command = [
            "curl", "-sS", "-v", "--max-time", "30", "-o", "-", "-w", "%{stderr}%{json}",
            f"{self.gateway.base_url}{path}", "-H", f"Authorization: Bearer {key}", *arguments,
        ]  # fmt: skip
        shell = f'{feed} | "$@"' if feed else '"$@"'
        done = subprocess.run(
            ["bash", "-c", shell, "bash", *command],
            cwd=self.pictures, capture_output=True, text=True, timeout=40,
        )  # fmt: skip
        *talk, facts = done.stderr.splitlines()
        assert done.returncode == 0, done.stderr
        told = json.loads(facts)
        return Answer(
            status=told["http_code"],
            headers=_headers(talk),
            body=_read(done.stdout),
            sent="\n".join(line[2:] for line in talk if line.startswith("> ")),
            received="\n".join(line[2:] for line in talk if line.startswith("< ")),
            sent_bytes=told["size_upload"],
        )

    def edit(self, prompt: str, *arguments: str, **more: Any) -> Answer:
        return self("-F", "model=deepshi-image-1", "-F", f"prompt={prompt}", *arguments, **more)


def _read(body: str) -> Any:
    """JSON, or the events of a stream in their order."""
    if not body.startswith("event: "):
        return json.loads(body)
    datas = [line.removeprefix("data: ") for line in body.split("\n") if line.startswith("data: ")]
    return [json.loads(data) for data in datas]


def _headers(talk: list[str]) -> dict[str, str]:
    """The headers of the last answer."""
    headers: dict[str, str] = {}
    for line in talk:
        if line.startswith("< HTTP/"):
            headers = {}
        elif line.startswith("< ") and ": " in line:
            name, _, value = line[2:].partition(": ")
            headers[name.lower()] = value.strip()
    return headers
