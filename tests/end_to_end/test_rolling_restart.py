"""Two gateways on one state are restarted one after the other under load: nothing is lost."""

from __future__ import annotations

import asyncio
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest

from gateway.emulator import EmulatorServer
from gateway.ledger.tables import verify
from gateway.settings import load
from tests.support.engines import fresh_schema, postgres_url
from tests.support.serving import KEY, PHOTOGRAPH, GatewayProcess, in_state, make_key, tables_of
from tests.support.waiting import until

__all__ = ["postgres_url"]

CLIENTS = 8


class RoundRobin:
    """Sends each request to the next gateway there is, and each retry to the one after that.

    It does not look whether a gateway is ready: the library's own retries have to do.
    """

    def __init__(self) -> None:
        self.gateways: list[GatewayProcess] = []

    async def choose(self, request: Any) -> None:
        """An event hook of the library's HTTP client."""
        turn = int(request.headers["x-turn"]) + int(request.headers["x-stainless-retry-count"])
        gateway = self.gateways[turn % len(self.gateways)]
        host, port = gateway.url.removeprefix("http://").split(":")
        request.url = request.url.copy_with(host=host, port=int(port))
        request.headers["host"] = f"{host}:{port}"


class Load:
    """Clients of the official library that ask for one edit after another, until told to stop.

    Every edit is wanted by two of them, so that flights and results are shared on the way.
    """

    def __init__(self, balancer: RoundRobin) -> None:
        self._balancer = balancer
        self._over = threading.Event()
        self.pictures: dict[str, set[str]] = {}
        self.answers = 0

    def run(self) -> None:
        """Raises what a client raises."""
        asyncio.run(self._run())

    def stop(self) -> None:
        self._over.set()

    async def _run(self) -> None:
        async with openai.AsyncOpenAI(
            base_url="http://gateway/v1",
            api_key=KEY,
            timeout=60,
            http_client=openai.DefaultAsyncHttpxClient(
                event_hooks={"request": [self._balancer.choose]}, trust_env=False
            ),
        ) as client:
            await asyncio.gather(*(self._ask(client, number) for number in range(CLIENTS)))

    async def _ask(self, client: openai.AsyncOpenAI, client_number: int) -> None:
        for number in itertools.count():
            if self._over.is_set():
                return
            prompt = f"make it grey {client_number // 2} {number}"
            answer = await client.images.edit(
                model="deepshi-image-1",
                prompt=prompt,
                image=PHOTOGRAPH,
                extra_headers={"x-turn": str(number + client_number)},
            )
            assert answer.data
            self.pictures.setdefault(prompt, set()).add(answer.data[0].b64_json or "")
            self.answers += 1


@pytest.mark.parametrize("engine", [pytest.param("sqlite", marks=pytest.mark.long), "postgres"])
def test_a_rolling_restart_under_load_loses_nothing_and_pays_for_nothing_twice(
    request: pytest.FixtureRequest, tmp_path: Path, emulator: EmulatorServer, engine: str
) -> None:
    more = {}
    if engine == "postgres":
        more = {"state": {"url": fresh_schema(request.getfixturevalue("postgres_url"))}}
    tables = tables_of(tmp_path, emulator, more)
    settings = load(environment={}, overrides=tables)
    make_key(settings)
    emulator.order(always={"latency_seconds": 0.4})
    balancer = RoundRobin()
    coalescing_key = Load(balancer)
    with ThreadPoolExecutor(1) as pool:
        first, second = (GatewayProcess(tables, tmp_path / name) for name in ("one", "two"))
        balancer.gateways = [first, second]
        load_ends = pool.submit(coalescing_key.run)

        def goes_on(answers: int) -> None:
            until(lambda: load_ends.done() or coalescing_key.answers >= answers, 60)
            assert not load_ends.done(), load_ends.exception()

        try:
            goes_on(CLIENTS)
            for number, old in enumerate((first, second)):
                until(lambda: emulator.stats()["in_flight"] > 0)
                assert old.stop(60) == 0
                new = GatewayProcess(tables, tmp_path / f"new-{number}")
                balancer.gateways = [*(each for each in balancer.gateways if each is not old), new]
                goes_on(coalescing_key.answers + CLIENTS)
        finally:
            coalescing_key.stop()
            for each in balancer.gateways:
                load_ends.exception(60)
                each.stop(60)
        load_ends.result()

    assert all(
        len(pictures) == 1 and all(pictures) for pictures in coalescing_key.pictures.values()
    )
    assert (
        emulator.stats()["calls"]
        == emulator.stats()["billed_calls"]
        == len(coalescing_key.pictures)
    )
    proof = in_state(settings, verify.verify)
    assert (proof.differences, proof.open_reservations) == ((), 0)
    assert (proof.held_nanos, proof.estimated_calls) == (0, 0)
    assert proof.spent_nanos == emulator.stats()["billed_nanos"]
    refused = sum("shutting_down" in log.read_text() for log in tmp_path.glob("*/gateway.log"))
    assert refused, "or nobody met a gateway that was about to stop"
