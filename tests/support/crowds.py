"""Many clients at once, from one event loop: threads would measure the test and not the gateway."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from tests.support.serving import KEY, PHOTOGRAPH

EDIT = {"model": "deepshi-image-1", "prompt": "make it grey"}


async def ask(
    client: httpx.AsyncClient,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    key: str = KEY,
    patience: float = 120.0,
    **fields: str,
) -> httpx.Response:
    """One edit; raises httpx's time-out where the client loses its patience."""
    return await client.post(
        f"{url}/v1/images/edits",
        data=EDIT | fields,
        files=[("image[]", ("a.jpg", PHOTOGRAPH))],
        headers={"authorization": f"Bearer {key}", **(headers or {})},
        timeout=patience,
    )


def crowd(urls: Sequence[str], count: int, **more: Any) -> list[httpx.Response]:
    """The same edit from so many clients at once, spread over these gateways."""

    async def all_at_once() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        async with httpx.AsyncClient(limits=limits, trust_env=False) as client:
            calls = [ask(client, urls[n % len(urls)], **more) for n in range(count)]
            return await asyncio.gather(*calls)

    return asyncio.run(all_at_once())


def leaving_crowd(url: str, count: int, patience: float, **more: Any) -> int:
    """So many clients that ask for the same and leave; how many were not answered in time."""

    async def all_at_once() -> int:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(limits=limits, trust_env=False) as client:
            calls = [ask(client, url, patience=patience, **more) for _ in range(count)]
            answers = await asyncio.gather(*calls, return_exceptions=True)
        return sum(isinstance(answer, httpx.TimeoutException) for answer in answers)

    return asyncio.run(all_at_once())


def outcomes(answers: Sequence[httpx.Response]) -> Counter[str]:
    """How often each `X-Gateway-Cache` came, or else the status."""
    return Counter(a.headers.get("x-gateway-cache", str(a.status_code)) for a in answers)
