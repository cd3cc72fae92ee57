"""A process that buys: `python -m tests.support.buying URL NAME COUNT [forever]`.

Reserves COUNT times at once as soon as a line comes on its input, and prints how many were
granted. With `forever` it reserves and settles until it is killed, and prints each
reservation before it is settled, as an upstream would bill it.
"""

from __future__ import annotations

import asyncio
import sys

from gateway.ledger.rules.budget import OverBudget
from tests.support.databases import open_engine
from tests.support.funds import CENT, Till


async def burst(till: Till, name: str, count: int) -> int:
    """Reserve so many times at once; how many were granted."""

    async def one(number: int) -> bool:
        try:
            await till.reserve(f"{name}-{number}")
        except OverBudget:
            return False
        return True

    return sum(await asyncio.gather(*(one(number) for number in range(count))))


async def buy_forever(till: Till, name: str, buyers: int) -> None:
    """Reserve, be billed, settle, again and again, by so many buyers at once."""

    async def one(buyer: int) -> None:
        number = 0
        while True:
            number += 1
            reservation_id = f"{name}-{buyer}-{number}"
            await till.reserve(reservation_id)
            print(reservation_id, flush=True)  # noqa: T201 - this is its output
            await till.settle(reservation_id, CENT // 2)

    await asyncio.gather(*(one(buyer) for buyer in range(buyers)))


async def main(url: str, name: str, count: int, forever: bool) -> None:
    database = open_engine(url)
    await database.read(lambda tx: tx.fetch("SELECT 1 AS one"))
    print("ready", flush=True)  # noqa: T201
    await asyncio.to_thread(sys.stdin.readline)
    if forever:
        await buy_forever(Till(database), name, count)
    print(await burst(Till(database), name, count), flush=True)  # noqa: T201
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:] == ["forever"]))
