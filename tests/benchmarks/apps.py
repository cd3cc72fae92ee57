"""The plain peers: what reads and discards and answers a constant, and what only forwards.

Run by uvicorn as factories, each in a process of its own. The constant answer carries both the
cost that the gateway reads and the token counts without which LiteLLM answers 500.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import sqlite3
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import diskcache
import httpx
from blake3 import blake3
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.support.bodies import png

MODEL = "deepshi-image-1"
KEPT_ANSWERS = 350
"""By a peer that keeps them: as many as fit the gateway's cache."""
PICTURE_BYTES = 1_050_000
"""As base64: 1.4 MB."""


def answer() -> bytes:
    """What every peer answers: one picture, 1.4 MB of JSON."""
    picture = base64.b64encode(png(random.Random(1).randbytes(PICTURE_BYTES))).decode()
    usage = {
        "input_tokens": 1,
        "output_tokens": 1,
        "total_tokens": 2,
        "input_tokens_details": {"text_tokens": 1, "image_tokens": 0},
        "cost": {"total_cost": 0.01},
    }
    return json.dumps({"created": 1, "data": [{"b64_json": picture}], "usage": usage}).encode()


def constant() -> Starlette:
    """Reads and discards a body, and answers a constant: the floor, and everybody's upstream."""
    body = answer()

    async def edit(request: Request) -> Response:
        async for _ in request.stream():
            pass
        return Response(body, media_type="application/json")

    return Starlette(routes=[Route("/v1/images/edits", edit, methods=["POST"]), _models()])


def sketch() -> Starlette:
    """The least that a cache of edits can do: the form's parts, their hash, a look-up, the answer.

    No key, no limits, no money, no metrics, no journal; BENCH_FOLDER holds its results.
    """
    cache = diskcache.Cache(os.environ["BENCH_FOLDER"], eviction_policy="none", cull_limit=0)
    body = answer()

    async def edit(request: Request) -> Response:
        digest = blake3()

        def data(piece: bytes, start: int, end: int) -> None:
            digest.update(memoryview(piece)[start:end])

        _, options = parse_options_header(request.headers["content-type"])
        parser = MultipartParser(options[b"boundary"], {"on_part_data": data})
        async for piece in request.stream():
            parser.write(piece)
        key = digest.hexdigest()
        found = cache.get(key)
        if found is None:
            cache.set(key, body)
        return Response(found or body, media_type="application/json")

    return Starlette(routes=[Route("/v1/images/edits", edit, methods=["POST"]), _models()])


def forwarder() -> Starlette:
    """Reads a body, posts it to the upstream (BENCH_UPSTREAM) by httpx, and answers its answer."""
    url = os.environ["BENCH_UPSTREAM"] + "/images/edits"
    client = httpx.AsyncClient(timeout=60, trust_env=False)

    async def edit(request: Request) -> Response:
        body = await request.body()
        headers = {"content-type": request.headers["content-type"]}
        answered = await client.post(url, content=body, headers=headers)
        return Response(answered.content, answered.status_code, media_type="application/json")

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with client:
            yield

    routes = [Route("/v1/images/edits", edit, methods=["POST"]), _models()]
    return Starlette(routes=routes, lifespan=lifespan)


def booked() -> Starlette:
    """The forwarder, which books each call before and after it and keeps its answer in a file.

    The least that can be done so that no money and no picture is lost: two commits that are on
    the disk when they are said to be, by one writer, and a file, of which the oldest are written
    over. No key, no budget, no form, no look-up, no metrics; BENCH_FOLDER holds what it writes.
    """
    url = os.environ["BENCH_UPSTREAM"] + "/images/edits"
    folder = Path(os.environ["BENCH_FOLDER"])
    client = httpx.AsyncClient(timeout=60, trust_env=False)
    writer = ThreadPoolExecutor(1)
    state = sqlite3.connect(folder / "booked.db", isolation_level=None, check_same_thread=False)
    state.execute("PRAGMA journal_mode = WAL")
    state.execute("PRAGMA synchronous = FULL")
    state.execute("CREATE TABLE calls (id INTEGER PRIMARY KEY, held_nanos INT, cost_nanos INT)")

    def reserve() -> int | None:
        return state.execute("INSERT INTO calls (held_nanos) VALUES (10000000)").lastrowid

    def settle(call: int | None) -> None:
        values = (10_000_000, call)
        state.execute("UPDATE calls SET held_nanos = 0, cost_nanos = ? WHERE id = ?", values)

    def keep(call: int | None, body: bytes, answered: bytes) -> None:
        hashed = blake3(body).digest() + blake3(answered).digest()
        (folder / f"{(call or 0) % KEPT_ANSWERS}").write_bytes(hashed + answered)

    async def edit(request: Request) -> Response:
        run = asyncio.get_running_loop().run_in_executor
        body = await request.body()
        headers = {"content-type": request.headers["content-type"]}
        call = await run(writer, reserve)
        answered = await client.post(url, content=body, headers=headers)
        await run(writer, settle, call)
        await asyncio.to_thread(keep, call, body, answered.content)
        return Response(answered.content, answered.status_code, media_type="application/json")

    return Starlette(routes=[Route("/v1/images/edits", edit, methods=["POST"]), _models()])


def _models() -> Route:
    async def models(request: Request) -> Response:
        edit = {"supported": True, "max_reference_images": 5}
        item = {"id": MODEL, "object": "model", "created": 1, "owned_by": "bench", "edit": edit}
        return JSONResponse({"object": "list", "data": [item]})

    return Route("/v1/models", models)
