"""A client: `python -m tests.faults_of_many.traffic URL CHAIN NUMBER ORDERS OUT`, until SIGTERM.

It asks for edits of every kind, several at once, and writes a line of JSON for each request and for
each answer. ORDERS is a file that says whether it pauses, and in which row of the table it is.
"""

from __future__ import annotations

import asyncio
import io
import json
import random
import signal
import ssl
import sys
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from tests.faults_of_many.site import KEY, POOR_KEY, UPSTREAMS
from tests.support.upstreams import png

CONCURRENT = 3
TIMEOUT_SECONDS = 60.0
KINDS = {"miss": 30, "hit": 35, "join": 15, "stream": 8, "poor": 8, "refused": 4}
_PICTURE = png(16, 16)


class Client:
    def __init__(self, url: str, number: int, orders: Path, out: io.TextIOBase) -> None:
        self._url, self._number, self._orders, self._out = url, number, orders, out
        self._random = random.Random(number)
        self._asked = 0
        self._known: list[str] = []
        self.is_over = False

    async def keep_asking(self, http: httpx.AsyncClient) -> None:
        while not self.is_over:
            orders = json.loads(self._orders.read_text())
            if orders["paused"]:
                await asyncio.sleep(0.05)
                continue
            (kind,) = self._random.choices(list(KINDS), list(KINDS.values()))
            self._write(await self._ask(http, kind, orders["row"]))
            await asyncio.sleep(self._random.uniform(0.0, orders["pause_seconds"]))

    def _write(self, line: Mapping[str, object]) -> None:
        self._out.write(json.dumps(line) + "\n")
        self._out.flush()

    async def _ask(self, http: httpx.AsyncClient, kind: str, row: str) -> dict[str, Any]:
        self._asked += 1
        prompt = f"{row} {self._number} {self._asked}"
        if kind == "hit" and self._known:
            prompt = self._random.choice(self._known[-50:])
        elif kind == "join":  # all clients ask for it within the same second
            prompt = f"{row} together {int(time.time())}"
        key = {"poor": f"{POOR_KEY}-{row}", "refused": "sk-of-nobody"}.get(kind, KEY)
        model = f"{UPSTREAMS[zlib.crc32(prompt.encode()) % len(UPSTREAMS)]}-image"
        data = {"model": model, "prompt": prompt}
        if kind == "stream":
            data["stream"] = "true"
        begun = time.time()
        self._write({"row": row})
        try:
            answer = await http.post(
                f"{self._url}/v1/images/edits", data=data, files=[("image[]", ("a.png", _PICTURE))],
                headers={"authorization": f"Bearer {key}"},
            )  # fmt: skip
        except httpx.TimeoutException:
            seen = "no answer in a minute"
        except httpx.TransportError:
            seen = "broken connection"
        else:
            seen = self._seen(answer, kind)
            if seen == "200" and kind in ("miss", "join", "stream"):
                self._known.append(prompt)
        return {"begun": begun, "ended": time.time(), "kind": kind, "row": row, "prompt": prompt,
                "seen": seen}  # fmt: skip

    def _seen(self, answer: httpx.Response, kind: str) -> str:
        if answer.status_code == 200:
            whole = kind != "stream" or "image_edit.completed" in answer.text
            return "200" if whole else "a stream's error"
        try:
            code = answer.json()["error"]["code"]
        except (ValueError, KeyError, TypeError):
            code = "no JSON"
        return f"{answer.status_code} {code}"


async def main(url: str, chain: str, number: str, orders: str, out: str) -> None:
    tls = ssl.create_default_context(cafile=chain)
    tls.check_hostname = False  # it is an address here
    with Path(out).open("a") as lines:
        client = Client(url, int(number), Path(orders), lines)
        asyncio.get_running_loop().add_signal_handler(
            signal.SIGTERM, lambda: setattr(client, "is_over", True)
        )
        async with httpx.AsyncClient(verify=tls, timeout=TIMEOUT_SECONDS, trust_env=False) as http:
            await asyncio.gather(*(client.keep_asking(http) for _ in range(CONCURRENT)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
