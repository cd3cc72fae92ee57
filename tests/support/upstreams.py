"""An upstream that writes down what reached it, for what the emulator does not tell."""

from __future__ import annotations

import asyncio
import base64
import io
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from gateway.server import listen

Seen = tuple[dict[str, str], list[tuple[str, str]], list[tuple[str, str, bytes]]]


def png(width: int, height: int, *, noise: bool = False) -> bytes:
    """A small PNG; with `noise` one that does not compress."""
    size = (width, height)
    data = random.Random(1).randbytes(width * height * 3) if noise else b"\x10" * width * height * 3
    out = io.BytesIO()
    Image.frombytes("RGB", size, data).save(out, "PNG")
    return out.getvalue()


class Recording:
    """What reached it: headers, text fields and files, in order."""

    def __init__(self) -> None:
        self.url = ""
        self.seen: list[Seen] = []
        self.picture = png(2, 2)
        self.request_id = b""
        self.refusal: Response | None = None
        """Answered instead of a picture."""
        self.status = 200
        """Another than 200: refuses with it, in words that are no error object."""
        self.pictures = 1
        self.model = "deepshi-image-1"
        """The name of the one model that it lists."""
        self.by_url = False
        """Gives the URLs of its pictures, which it serves `picture_seconds` later."""
        self.picture_seconds = 0.0
        self.on_picture: Callable[[], object] = lambda: None
        """Called in a thread before a picture is served."""

    @property
    def origin(self) -> str:
        return self.url.removesuffix("/v1")

    async def edit(self, request: Request) -> Response:
        fields: list[tuple[str, str]] = []
        files: list[tuple[str, str, bytes]] = []
        async with request.form() as form:
            for name, value in form.multi_items():
                if isinstance(value, UploadFile):
                    files.append((name, value.content_type or "", await value.read()))
                else:
                    fields.append((name, value))
        self.seen.append((dict(request.headers), fields, files))
        if self.refusal:
            return self.refusal
        if self.status != 200:
            return PlainTextResponse("no", self.status)
        picture = base64.b64encode(self.picture).decode()
        given = {"url": f"{self.origin}/picture"} if self.by_url else {"b64_json": picture}
        answer = JSONResponse(
            {"created": 1, "data": [{**given, "index": at} for at in range(self.pictures)],
             "usage": {"cost": {"total_cost": 0.01}}}
        )  # fmt: skip
        if self.request_id:
            answer.raw_headers.append((b"x-request-id", self.request_id))
        return answer

    async def serve_picture(self, request: Request) -> Response:
        await asyncio.to_thread(self.on_picture)
        await asyncio.sleep(self.picture_seconds)
        return Response(self.picture)

    async def models(self, request: Request) -> JSONResponse:
        edit = {"supported": True, "max_reference_images": 5}
        item = {"id": self.model, "object": "model", "created": 1, "owned_by": "x"}
        return JSONResponse({"object": "list", "data": [{**item, "edit": edit}]})


@contextmanager
def recording_upstream() -> Iterator[Recording]:
    recording = Recording()
    app = Starlette(
        routes=[
            Route("/v1/images/edits", recording.edit, methods=["POST"]),
            Route("/v1/models", recording.models),
            Route("/picture", recording.serve_picture),
        ]
    )
    listener = listen("127.0.0.1", 0)
    recording.url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield recording
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
