"""About a minute in the life of two gateways that share a state: everything that panels show.

Every call is billed at its model's price, which is also its ceiling, so that what had to be
estimated agrees with the bill as well; only the overrun, after that, costs more.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from gateway.emulator import EmulatorServer
from tests.dashboards.organisation import BASIC, COLLAGE, SOLO, secret
from tests.support.serving import Served
from tests.support.upstreams import png

PICTURES = [png(side, side, noise=True) for side in (64, 80, 96)]
LARGE = png(256, 256, noise=True)
POPULAR_PROMPTS = 8
NOBODY = "sk-nobody-0123456789abcdef"
BROKEN = {"status": 500, "bill": True}


@dataclass
class Crowd:
    """The clients of these gateways, and the hand on the upstream's faults."""

    gateways: Sequence[Served]
    emulator: EmulatorServer
    disk: Path
    """The folder that the spool is in."""
    seconds: float
    sent: int = 0
    _dice: random.Random = field(default_factory=lambda: random.Random(6))
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _started: float = field(default_factory=time.monotonic)
    _over: bool = False

    async def live(self) -> None:
        """Everybody at once, until the script has been played."""
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(limits=limits, timeout=120, trust_env=False) as client:
            self._client = client
            async with asyncio.TaskGroup() as habits:
                for every, habit in self._habits():
                    habits.create_task(self._keep(every, habit))
                await self._play()
                self._over = True

    def _habits(self) -> Sequence[tuple[float, Callable[[], Awaitable[object]]]]:
        """What each client does, and how many seconds it rests in between."""
        return [
            (0.15, lambda: self._popular("figma")),
            (0.25, lambda: self._popular("notebook")),
            (0.4, lambda: self._popular("batch", headers={"x-stainless-retry-count": "1"})),
            (0.9, lambda: self._popular("intern")),
            (0.5, lambda: self._fresh("figma")),
            (0.7, lambda: self._fresh("notebook")),
            (1.1, lambda: self._fresh("batch", model=SOLO)),
            (1.5, lambda: self._fresh("campaign")),
            (2.5, lambda: self._fresh("film", pictures=[LARGE, *PICTURES], model=COLLAGE)),
            (2.0, self._streamed),
            (2.0, self._together),
            (3.0, lambda: self._popular("figma", headers={"x-gateway-cache-control": "no-cache"})),
            (3.0, lambda: self._fresh("figma", headers={"x-gateway-cache-control": "no-store"})),
            (1.0, self._mistaken),
        ]

    async def _keep(self, rest_seconds: float, habit: Callable[[], Awaitable[object]]) -> None:
        while not self._over:
            await habit()
            await asyncio.sleep(rest_seconds * self._dice.uniform(0.6, 1.4))

    # --- the script ---------------------------------------------------------------------

    async def _play(self) -> None:
        """What goes wrong, and when: parts of the whole time, later on a slow machine."""
        self.emulator.order(always={"latency_seconds": 0.25})
        await self._until(0.15)
        self.emulator.order(*[{"status": 503, "retry_after": 0}] * 4)
        await self._until(0.25)
        self.emulator.order(always={"latency_seconds": 1.2})
        self.emulator.order(*[{"cost": "missing"}] * 3)
        await self._rush()
        await self._fresh("film", size="1024x1024")  # more than the whole cache may hold
        await self._use_up_budget("campaign")
        await self._until(0.5)
        self.emulator.order(always={"latency_seconds": 0.5})
        self.emulator.order({"status": 401}, {"reset_after_read": True}, BROKEN)
        await self._until(0.6)
        await self._without_disk()
        await self._until(0.65)
        self.emulator.order(*[BROKEN] * 10)
        await self._met()
        # Last of all: a price that was seen raises what estimates are booked at.
        self.emulator.order({"cost": Decimal("0.05")})
        await self._met()
        await asyncio.sleep(4)  # some scrapes come by
        await self._until(1.0)

    async def _until(self, part: float) -> None:
        await asyncio.sleep(max(0.0, self._started + part * self.seconds - time.monotonic()))

    async def _met(self) -> None:
        """Until every fault that was ordered has met its call."""
        url = f"{self.emulator.origin}/emulator/faults"
        while (await self._client.post(url, json={})).json()["queued"]:
            await asyncio.sleep(0.2)

    async def _rush(self) -> None:
        """More at once than may be with the upstream."""
        await asyncio.gather(*(self._fresh("figma") for _ in range(24)))

    async def _use_up_budget(self, key: str) -> None:
        code = ""
        while code != "insufficient_quota":
            answer = await self._fresh(key)
            code = answer.json().get("error", {}).get("code", "")

    async def _without_disk(self) -> None:
        """The disk for uploads goes away for a moment: a large one is refused."""
        away = self.disk.with_name("away")
        self.disk.rename(away)
        self.disk.touch()
        answer = await self._fresh("film", pictures=[LARGE, LARGE], model=COLLAGE)
        assert answer.json()["error"]["code"] == "storage_full", answer.text
        self.disk.unlink()
        away.rename(self.disk)

    # --- what clients ask for -----------------------------------------------------------

    async def _popular(self, key: str, **more: Any) -> httpx.Response:
        """What everybody wants: nearly always stored already."""
        number = min(int(self._dice.expovariate(0.4)), POPULAR_PROMPTS - 1)
        return await self._ask(key, f"make it grey {number}", [PICTURES[0]], **more)

    async def _fresh(self, key: str, pictures: Sequence[bytes] = (), **more: Any) -> httpx.Response:
        """What nobody has asked for yet."""
        prompt = f"make it blue {next(self._numbers)}"
        return await self._ask(key, prompt, pictures or [self._dice.choice(PICTURES)], **more)

    async def _streamed(self) -> None:
        """A stream, which breaks off where its call fails."""
        with contextlib.suppress(httpx.RemoteProtocolError):
            await self._fresh("film", stream="true", partial_images="2")

    async def _together(self) -> None:
        """The same from five clients at once, of both gateways."""
        prompt = f"make it sepia {next(self._numbers)}"
        await asyncio.gather(*(self._ask("notebook", prompt, PICTURES[:1]) for _ in range(5)))

    async def _mistaken(self) -> None:
        """One of the usual mistakes."""
        mistakes: Sequence[Callable[[], Awaitable[httpx.Response]]] = (
            lambda: self._ask("nobody", "whose key is this", PICTURES[:1]),
            lambda: self._ask("figma", "too many of them", PICTURES * 2),
            lambda: self._ask("figma", "no such model", PICTURES[:1], model="deepshi-imaginary"),
            lambda: self._ask("notebook", "no picture", [b"GIF?"]),
        )
        answer = await self._dice.choice(mistakes)()
        assert answer.status_code in (400, 401, 404, 429), answer.text

    async def _ask(
        self,
        key: str,
        prompt: str,
        pictures: Sequence[bytes],
        *,
        headers: Mapping[str, str] | None = None,
        model: str = BASIC,
        **fields: str,
    ) -> httpx.Response:
        self.sent += 1
        gateway = self._dice.choice(self.gateways)
        return await self._client.post(
            f"{gateway.base_url}/images/edits",
            headers={"authorization": f"Bearer {secret(key)}", **(headers or {})},
            data={"model": model, "prompt": prompt, **fields},
            files=[("image[]", (f"{i}.png", each)) for i, each in enumerate(pictures)],
        )
