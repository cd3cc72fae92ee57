"""A client library in a process of its own: a command a line in, its answer a line out."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.serving import KEY, Served

ANSWER_SECONDS = 120.0
"""LiteLLM takes half a minute to be imported on a busy machine."""


class Script:
    """Asks a client to do something to a gateway; gives what the client saw of it.

    The answer of an edit holds `answer` (the library's own object as JSON), `headers`, or
    `error`; and always `tries`, the number of requests that the library made.
    """

    def __init__(self, command: Sequence[str], pictures: Path, log: Path) -> None:
        self._pictures = pictures
        self._log = log
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        self._answers: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, name="script")
        self._reader.start()

    def ask(self, gateway: Served, do: str, **asked: object) -> dict[str, Any]:
        """Have one command carried out; fails where the client takes too long or dies."""
        usual = {"base_url": gateway.base_url, "api_key": KEY, "folder": str(self._pictures)}
        line = json.dumps({**usual, "do": do, **asked})
        assert self._process.stdin
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        try:
            answer = self._answers.get(timeout=ANSWER_SECONDS)
        except queue.Empty:
            raise AssertionError(f"no answer to {do}: {self._log.read_text()[-2000:]}") from None
        assert answer, f"the client died: {self._log.read_text()[-2000:]}"
        found: dict[str, Any] = json.loads(answer)
        return found

    def edit(self, gateway: Served, **asked: object) -> dict[str, Any]:
        """One edit; what is left out is a grey photograph, sent once, as a list of one."""
        fields = {"model": "deepshi-image-1", "prompt": "make it grey"}
        given = asked.pop("fields", {})
        assert isinstance(given, dict)
        images = [{"file": "photo.jpg", "as": "handle"}]
        return self.ask(gateway, "edit", **{"images": images, "fields": fields | given, **asked})

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        assert self._process.stdout
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
