"""The log: one line per request, and events of the gateway. The one home of structlog.

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
from datetime import UTC, datetime
from typing import Any, TextIO

import structlog

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class EventLog:
    """Writes the events of the gateway as structured lines."""

    def __init__(self, *, format: str = "auto", level: str = "info", out: TextIO | None = None):
        stream = out or sys.stderr
        readable = format == "console" or (format == "auto" and stream.isatty())
        self._out = None if readable or LEVELS[level] > LEVELS["info"] else stream
        """Request lines go here as JSON, without structlog's processors."""
        self._lines: list[str] = []
        last: Any = (
            structlog.dev.ConsoleRenderer(colors=stream.isatty())
            if readable
            else structlog.processors.JSONRenderer()
        )
        self._log = structlog.wrap_logger(
            structlog.PrintLogger(stream),
            processors=[
                structlog.contextvars.merge_contextvars,
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info
                if readable
                else structlog.processors.dict_tracebacks,
                last,
            ],
            wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        )

    def bind(self, **facts: str) -> None:
        """Add facts to every later line of this task and of the tasks that it starts."""
        structlog.contextvars.bind_contextvars(**facts)

    def request(self, **facts: object) -> None:
        """Write the line of a finished request; `facts` are its whole content.

        JSON lines bypass structlog, which takes several times as long for the same text. Lines of
        requests that end in the same turn of the event loop are written together.
        """
        if self._out is None:
            self._log.info("request", **facts)
            return
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        line = {**facts, "event": "request", "level": "info", "timestamp": now}
        self._lines.append(json.dumps(line) + "\n")
        if len(self._lines) > 1:
            return  # the first line has scheduled the flush
        try:
            asyncio.get_running_loop().call_soon(self.flush)
        except RuntimeError:
            self.flush()  # no event loop runs here

    def flush(self) -> None:
        """Write the waiting lines of requests."""
        lines, self._lines = self._lines, []
        if self._out and lines:
            self._out.write("".join(lines))
            self._out.flush()

    def info(self, event: str, **facts: object) -> None:
        self.flush()
        self._log.info(event, **facts)

    def warning(self, event: str, **facts: object) -> None:
        self.flush()
        self._log.warning(event, **facts)

    def error(self, event: str, error: BaseException, **facts: object) -> None:
        """Write an unexpected error: its type and its stack, without its text or any values."""
        self.flush()
        self._log.error(event, **_facts_of(error), **facts)

    def capture_library_logs(self) -> None:
        """Write warnings and errors of uvicorn and other libraries here too.

        This sets up logging for the whole process: call it in a process of the gateway only.
        """
        root = logging.getLogger()
        root.handlers = [_LibraryHandler(self._log)]
        root.setLevel(logging.WARNING)
        logging.captureWarnings(True)


class _LibraryHandler(logging.Handler):
    """Writes records of Python's logging as lines of the log."""

    def __init__(self, log: Any) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        facts: dict[str, object] = {"logger": record.name}
        error = record.exc_info[1] if record.exc_info else None
        if error:
            facts |= _facts_of(error)
        level = "warning" if record.levelno < logging.ERROR else "error"
        getattr(self._log, level)(record.getMessage().strip(), **facts)


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
