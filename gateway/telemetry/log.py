"""The log: one line per request, and events of the gateway.

JSON where the output is a file or a pipe, readable text on a terminal. Secrets, prompts and
pictures are never passed to it. Every line written during a request, or by work that the request
started (a retry, a flight whose client left, a late settlement), carries the request's id.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import traceback
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TextIO

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
COLOURS = {"info": 32, "warning": 33, "error": 31}
"""Of a level on a terminal, as ANSI codes."""
_BOUND: ContextVar[Mapping[str, str]] = ContextVar("bound", default=MappingProxyType({}))
"""Facts of every line of this task."""
_to_json = json.JSONEncoder(default=str).encode


class EventLog:
    """Writes the events of the gateway as structured lines."""

    def __init__(self, *, format: str = "auto", level: str = "info", out: TextIO | None = None):
        self._out = out or sys.stderr
        self._coloured = self._out.isatty()
        self._readable = format == "console" or (format == "auto" and self._coloured)
        self._least = LEVELS[level]
        self._lines: list[str] = []
        """Lines of requests that wait for the flush."""

    def bind(self, **facts: str) -> None:
        """Add facts to every later line of this task and of the tasks that it starts."""
        _BOUND.set({**_BOUND.get(), **facts})

    def request(self, **facts: object) -> None:
        """Write the line of a finished request; `facts` are its whole content.

        Lines of requests that end in the same turn of the event loop are written together.
        """
        if self._least > LEVELS["info"]:
            return
        self._lines.append(self._line("info", "request", facts))
        if len(self._lines) > 1:
            return  # the first line has scheduled the flush
        try:
            asyncio.get_running_loop().call_soon(self.flush)
        except RuntimeError:
            self.flush()  # no event loop runs here

    def flush(self) -> None:
        """Write the waiting lines of requests."""
        lines, self._lines = self._lines, []
        if lines:
            self._out.write("".join(lines))
            self._out.flush()

    def info(self, event: str, **facts: object) -> None:
        self._emit("info", event, facts)

    def warning(self, event: str, **facts: object) -> None:
        self._emit("warning", event, facts)

    def error(self, event: str, error: BaseException, **facts: object) -> None:
        """Write an unexpected error: its type and its stack, without its text or any values."""
        self._emit("error", event, {**_facts_of(error), **facts})

    def library(self, record: logging.LogRecord) -> None:
        """Write a record of Python's logging."""
        error = record.exc_info[1] if record.exc_info else None
        self._emit(
            "warning" if record.levelno < logging.ERROR else "error",
            record.getMessage().strip(),
            {"logger": record.name, **(_facts_of(error) if error else {})},
        )

    def capture_library_logs(self) -> None:
        """Write warnings and errors of uvicorn and other libraries here too.

        This sets up logging for the whole process: call it in a process of the gateway only.
        """
        root = logging.getLogger()
        root.handlers = [_LibraryHandler(self)]
        root.setLevel(logging.WARNING)
        logging.captureWarnings(True)

    def _emit(self, level: str, event: str, facts: Mapping[str, object]) -> None:
        self.flush()
        if LEVELS[level] >= self._least:
            self._out.write(self._line(level, event, {**_BOUND.get(), **facts}))
            self._out.flush()

    def _line(self, level: str, event: str, facts: Mapping[str, object]) -> str:
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        if not self._readable:
            line = {**facts, "event": event, "level": level, "timestamp": now}
            return _to_json(line) + "\n"
        marked = f"\x1b[{COLOURS[level]}m{level:7}\x1b[0m" if self._coloured else f"{level:7}"
        told = " ".join(f"{name}={_printable(str(value))}" for name, value in facts.items())
        return f"{now} {marked} {_printable(event):30} {told}".rstrip() + "\n"


class _LibraryHandler(logging.Handler):
    """Writes records of Python's logging as lines of the log."""

    def __init__(self, log: EventLog) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.library(record)


def _printable(text: str) -> str:
    """Quoted where it holds line ends or a terminal's control characters."""
    return text if text.isprintable() else repr(text)


def _facts_of(error: BaseException) -> dict[str, object]:
    where = [
        f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} in {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
    ]
    return {"error": type(error).__name__, "where": where[-6:]}


def silence_library_logs() -> None:
    """Drop library logs that repeat the gateway's own; call it in each process.

    python-multipart even logs every malformed body, which the gateway refuses as such.
    """
    for name in ("uvicorn.access", "httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
