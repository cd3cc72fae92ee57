"""The journal: one line per request, and what else is worth knowing. structlog's home.

JSON where the output is a file or a pipe, readable on a terminal. Secrets, prompts and
pictures are never given to it.
"""

from __future__ import annotations

import logging
import sys
import traceback
from typing import Any, TextIO

import structlog

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class Journal:
    """Where the gateway writes what it did."""

    def __init__(self, *, format: str = "auto", level: str = "info", out: TextIO | None = None):
        stream = out or sys.stderr
        readable = format == "console" or (format == "auto" and stream.isatty())
        last: Any = (
            structlog.dev.ConsoleRenderer(colors=stream.isatty())
            if readable
            else structlog.processors.JSONRenderer()
        )
        self._log = structlog.wrap_logger(
            structlog.PrintLogger(stream),
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.dict_tracebacks
                if not readable
                else structlog.processors.format_exc_info,
                last,
            ],
            wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        )

    def request(self, **facts: object) -> None:
        """The one line of a request that ended."""
        self._log.info("request", **facts)

    def note(self, event: str, **facts: object) -> None:
        self._log.info(event, **facts)

    def warn(self, event: str, **facts: object) -> None:
        self._log.warning(event, **facts)

    def fault(self, event: str, error: BaseException, **facts: object) -> None:
        """A fault of our own, with where it happened but without the values in hand."""
        where = [
            f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} in {frame.name}"
            for frame in _frames(error)
        ]
        self._log.error(event, error=type(error).__name__, where=where[-6:], **facts)


def _frames(error: BaseException) -> list[Any]:
    return list(traceback.extract_tb(error.__traceback__))


def quiet_servers() -> None:
    """Libraries write logs of their own; ours already say it. To be called in each process.

    python-multipart even writes a line for each body that is none, which is refused as such.
    """
    for name in ("uvicorn.access", "httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
