"""The work that is measured: bodies of multipart forms, on disk for wrk."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.apps import MODEL
from tests.support.bodies import file, form, form_type, png, text

MB = 1_000_000
KEY = "sk-bench-0123456789abcdef"
BOUNDARY = "3f9c1b2a7e5d4c608b1f2e3d4a5b6c7d"
"""As long as httpx, and so the official Python SDK, makes them."""
HEADERS = {"authorization": f"Bearer {KEY}", "content-type": form_type(BOUNDARY)}
PATH = "/v1/images/edits"
MARK = b"#00000000"
"""Stands in every prompt; a unique number takes its place where every request is another."""


@dataclass(frozen=True)
class Work:
    """One kind of request: so many references of so many bytes each."""

    name: str
    references: int
    reference_bytes: int

    def body(self) -> bytes:
        """The same bytes at every call."""
        source = random.Random(self.name)
        pictures = [png(source.randbytes(self.reference_bytes)) for _ in range(self.references)]
        files = [file("image[]", picture, f"{i}.png") for i, picture in enumerate(pictures)]
        prompt = f"make it grey {MARK.decode()}"
        return form([text("model", MODEL), text("prompt", prompt), *files], BOUNDARY)

    def written(self, folder: Path) -> Path:
        """The body as a file."""
        path = folder / f"{self.name.replace(' ', '-')}.body"
        path.write_bytes(self.body())
        return path


ONE_MB = Work("1 MB", 1, MB)
EIGHT_MB = Work("8 MB", 1, 8 * MB)
WORKS = (Work("0.2 MB", 1, MB // 5), ONE_MB, EIGHT_MB, Work("5 x 1 MB", 5, MB))
