"""The usage rows that a gateway has written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.database.database import Row, Transaction
from tests.support.serving import Running

_ROWS = "SELECT * FROM usage_rows ORDER BY at_ms, id"


def usage_of(gateway: Running, count: int) -> Sequence[Mapping[str, Any]]:
    """One row a request, in the order in which they ended, once there are so many or more.

    Rows are written in batches, in a moment after the answer.
    """

    async def read(tx: Transaction) -> Sequence[Row]:
        return await tx.fetch(_ROWS)

    async def written() -> Sequence[Row]:
        deadline = time.monotonic() + 10
        while True:
            rows = await gateway.app.parts.context.database.read(read)
            if len(rows) >= count or time.monotonic() > deadline:
                return rows
            await asyncio.sleep(0.05)

    return asyncio.run(written())
