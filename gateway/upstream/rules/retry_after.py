"""Reads `Retry-After` in both of its forms, and `retry-after-ms`, which some providers add."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_NUMBER = re.compile(r"\d{1,15}(\.\d{1,9})?")


def retry_after_seconds(headers: Mapping[str, str], now_unix: float) -> float | None:
    """How long an answer asks to wait, 0 or more; None where it does not.

    `headers` have lower-case names. A date counts from the answer's own `date`, since the
    clocks may differ.
    """
    milliseconds = headers.get("retry-after-ms", "").strip()
    if _NUMBER.fullmatch(milliseconds):
        return float(milliseconds) / 1000
    said = headers.get("retry-after", "").strip()
    if _NUMBER.fullmatch(said):
        return float(said)
    until = _unix(said)
    if until is None:
        return None
    since = _unix(headers.get("date", ""))
    return max(0.0, until - (now_unix if since is None else since))


def _unix(date: str) -> float | None:
    try:
        parsed: datetime = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
