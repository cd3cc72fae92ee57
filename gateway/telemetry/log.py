"""The journal: one line per request, and what else is worth knowing. structlog's home.

JSON where the output is a file or a pipe, readable on a terminal. Secrets, prompts and
pictures are never given to it. What is written in the course of a request, or of work that it
has begun, carries the request's id: a retry, a flight that goes on without its client, a
settlement that is written late.
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
    """Where the gateway writes what it did."""

    def __init__(self, *, format: str = "auto", level: str = "info", out: TextIO | None = None):
        stream = out or sys.stderr
        readable = format == "console" or (format == "auto" and stream.isatty())
        self._out = None if readable or LEVELS[level] > LEVELS["info"] else stream
        """Where lines of requests go as JSON, past structlog's chain."""
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
                structlog.processors.dict_tracebacks
                if not readable
                else structlog.processors.format_exc_info,
                last,
            ],
            wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        )

    def flush(self) -> None:
        """Write the lines of requests that wait."""
        lines, self._lines = self._lines, []
        if self._out and lines:
            self._out.write("".join(lines))
            self._out.flush()

    def about(self, **facts: str) -> None:
        """What this task, and every one that it begins from now on, is about."""
        structlog.contextvars.bind_contextvars(**facts)

    def request(self, **facts: object) -> None:
        """The one line of a request that ended.

        `facts` say all of it. As JSON it is written without structlog's chain, which says the
        same in several times the time, and together with those of requests that end in the same
        turn of the event loop.
        """
        if self._out is None:
            self._log.info("request", **facts)
            return
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        line = {**facts, "event": "request", "level": "info", "timestamp": now}
        self._lines.append(json.dumps(line) + "\n")
        if len(self._lines) > 1:
            return  # the first of them has seen to it
        try:
            asyncio.get_running_loop().call_soon(self.flush)
        except RuntimeError:
            self.flush()  # nobody would call back

    def note(self, event: str, **facts: object) -> None:
        self.flush()
        self._log.info(event, **facts)

    def warn(self, event: str, **facts: object) -> None:
        self.flush()
        self._log.warning(event, **facts)

    def fault(self, event: str, error: BaseException, **facts: object) -> None:
        """A fault of our own, with where it happened but without the values in hand."""
        self.flush()
        self._log.error(event, **_facts_of(error), **facts)

    def hear_libraries(self) -> None:
        """Have what uvicorn and other libraries log, from warnings on, written here too.

        It sets the logging of the whole process: for one of our own.
        """
        root = logging.getLogger()
        root.handlers = [_Hearing(self._log)]
        root.setLevel(logging.WARNING)
        logging.captureWarnings(True)


class _Hearing(logging.Handler):
    """Writes what comes by Python's own logging as lines of the journal."""

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


def quiet_servers() -> None:
    """Libraries write logs of their own; ours already say it. To be called in each process.

    python-multipart even writes a line for each body that is none, which is refused as such.
    """
    for name in ("uvicorn.access", "httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
