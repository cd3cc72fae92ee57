"""Entries to store in tests, and programs that use a store from a process of their own."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

from blake3 import blake3

from gateway.cache.rules.entry import Entry

NOW_MS = 1_800_000_000_000
DAY_MS = 86_400_000
SMALL = b'{"error": "small enough for the index"}'
LARGE = bytes(range(256)) * 400
"""Large enough for a file of its own."""

PLAIN = Entry(
    key="v1-00",
    team="design",
    key_id="k1",
    model="deepshi-image-1",
    cost_nanos=10_000_000,
    created_ms=NOW_MS,
    expires_ms=NOW_MS + DAY_MS,
    body_digest="",
    body_bytes=0,
    content_type="application/json",
    request_id="req-1",
    upstream_request_id="up-1",
    references=("a" * 64, "b" * 64),
)


def entry_of(body: bytes, key: str = "v1-00", **facts: Any) -> Entry:
    """The entry of a body, right in digest and length."""
    digest = blake3(body).hexdigest()
    return replace(PLAIN, key=key, body_digest=digest, body_bytes=len(body), **facts)


class Clock:
    """A clock that a test sets."""

    def __init__(self, now_ms: int = NOW_MS) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


def program(source: str, *arguments: object) -> subprocess.Popen[str]:
    """Run an asyncio `main(*arguments)` in a second process; texts go in and out by pipes."""
    start = f"import asyncio, sys\n{source}\nasyncio.run(main(*sys.argv[1:]))"
    return subprocess.Popen(
        [sys.executable, "-c", start, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def run(source: str, *arguments: object) -> str:
    """Run a program to its end; what it printed."""
    with program(source, *arguments) as process:
        printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return printed.strip()
