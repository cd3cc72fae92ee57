"""An emulator that also keeps which edit each call was for: `python -m … upstream ADDRESS PORT`.

`GET /edits` gives the prompt of each call by the request id that the gateway sent with it.
"""

from __future__ import annotations

import re
import sys

import uvicorn
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.emulator import EmulatorSettings, Knobs, create_app

_PROMPT = re.compile(rb'name="prompt"\r\n(?:[^\r\n]+\r\n)*\r\n(.*?)\r\n')


def with_prompts(app: ASGIApp) -> ASGIApp:
    prompts: dict[str, str] = {}

    async def listening(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await app(scope, receive, send)
        if scope["path"] == "/edits":
            return await JSONResponse(prompts)(scope, receive, send)
        head = bytearray()
        (name,) = [v.decode() for k, v in scope["headers"] if k == b"x-client-request-id"] or [""]

        async def heard() -> Message:
            message = await receive()
            head.extend(message.get("body", b"")[:20_000])
            if name and (found := _PROMPT.search(head)):
                prompts.setdefault(name, found[1].decode())
            return message

        return await app(scope, heard, send)

    return listening


def main(address: str, port: str) -> None:
    emulator = create_app(EmulatorSettings(knobs=Knobs(latency_seconds=0.3)))
    uvicorn.run(
        with_prompts(emulator), host=address, port=int(port), log_level="warning", lifespan="off"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
