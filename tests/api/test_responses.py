"""Answers of many items: encoded as any, and without holding up everything else."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from gateway.api.responses import _encoded
from gateway.queries.models.usage import UsageLineView, UsageView

LINE: dict[str, Any] = {
    "group": "2026-11-01, key_1",
    "groups": {"day": "2026-11-01", "key": "key_1"},
    "outcomes": {"hit": 1},
    "saved": {"reuse": 20_000_000},
    **dict.fromkeys(("calls", "hits", "coalesced", "errors", "paid_calls", "images"), 1),
    **dict.fromkeys(("spent_nanos", "estimated_nanos", "corrections_nanos", "saved_nanos"), 4),
    **dict.fromkeys(("error_share", "estimated_share"), 0.5),
    "estimated_calls": 0,
}


def report_of(lines: int) -> UsageView:
    days = {"from_day": "2026-11-01", "to_day": "2026-11-30", "timezone": "UTC"}
    line = UsageLineView.of(LINE)
    report = {"by": "day,key", **days, "team": None, "data": [line] * lines, "total": line}
    return UsageView.of(report)


def test_item_by_item_it_is_the_same_json() -> None:
    report = report_of(3)

    assert report.document() == report.model_dump()
    assert _encoded(report.document()).decode() == json.dumps(report.model_dump())


async def test_a_long_report_leaves_the_event_loop_its_turns() -> None:
    """At once, 100,000 lines held the interpreter for seconds, and with it every edit."""
    report, longest, last = report_of(20_000), 0.0, time.perf_counter()
    begun = last
    work = asyncio.ensure_future(asyncio.to_thread(lambda: _encoded(report.document())))
    while not work.done():
        await asyncio.sleep(0.001)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now

    assert longest < (last - begun) / 4, (longest, last - begun)
