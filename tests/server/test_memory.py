"""What a started server keeps for good, the garbage collector passes over."""

from __future__ import annotations

import subprocess
import sys

import httpx

SERVER = """
import gc
from gateway.server import ConnectionLimits, listen, serve

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return
    body = str(gc.get_freeze_count()).encode()
    head = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})

listener = listen("127.0.0.1", 0)
started = lambda: print(listener.getsockname()[1], flush=True)
serve(
    lambda: app, listener, limits=ConnectionLimits(), workers=1,
    trusted_proxies=(), on_started=started,
)
"""
SOME_OBJECTS = 10_000


def test_what_stays_is_not_looked_through_at_every_collection() -> None:
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        port = int(server.stdout.readline())
        spared = int(httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).text)
        server.terminate()

    assert spared > SOME_OBJECTS
