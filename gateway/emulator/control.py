"""The emulator's own endpoints, under /emulator: faults to order, books to read.

They ask for no key: they exist for the test or the drill at the other end of a loopback.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from gateway.emulator.emulator import Emulator
from gateway.emulator.refusals import Refused, bad_field


class ControlEndpoints:
    """Each method answers one endpoint."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator

    def routes(self) -> list[Route]:
        return [
            Route("/emulator/faults", self.order_faults, methods=["POST"]),
            Route("/emulator/faults", self.clear_faults, methods=["DELETE"]),
            Route("/emulator/release", self.release, methods=["POST"]),
            Route("/emulator/reset", self.reset, methods=["POST"]),
            Route("/emulator/stats", self.stats),
            Route("/emulator/statement", self.statement),
            Route("/emulator/files/{name}", self.file, name="file"),
        ]

    async def order_faults(self, request: Request) -> Response:
        """{"next": [knobs, …], "always": knobs}, either may be left out; see `Knobs`."""
        order = _object(await request.body())
        if unknown := order.keys() - {"next", "always"}:
            raise bad_field(min(unknown), "An order of faults has next and always only.")
        coming, always = order.get("next", []), order.get("always")
        if not isinstance(coming, list) or not all(isinstance(knobs, dict) for knobs in coming):
            raise bad_field("next", "next must be a list of objects, one for each coming call.")
        if always is not None and not isinstance(always, dict):
            raise bad_field("always", "always must be an object.")
        self._emulator.faults.plan(coming, always)
        return JSONResponse({"queued": self._emulator.faults.queued})

    async def clear_faults(self, request: Request) -> Response:
        self._emulator.faults.clear()
        return JSONResponse({"queued": 0})

    async def release(self, request: Request) -> Response:
        """Let the calls that hang go on."""
        return JSONResponse({"released": self._emulator.waits.release()})

    async def reset(self, request: Request) -> Response:
        self._emulator.reset()
        return JSONResponse(self._emulator.books.stats())

    async def stats(self, request: Request) -> Response:
        return JSONResponse(self._emulator.books.stats())

    async def statement(self, request: Request) -> Response:
        if request.query_params.get("format") == "csv":
            return PlainTextResponse(self._emulator.books.statement_csv(), media_type="text/csv")
        return JSONResponse(self._emulator.books.statement())

    async def file(self, request: Request) -> Response:
        picture = self._emulator.files.find(request.path_params["name"])
        if picture is None:
            raise Refused(404, "not_found", "There is no such picture, or not any longer.")
        return Response(picture.content, media_type=f"image/{picture.format}")


def _object(body: bytes) -> Mapping[str, object]:
    """A JSON object, its numbers exact; raises Refused (400)."""
    try:
        order = json.loads(body, parse_float=Decimal)
    except ValueError as broken:
        raise Refused(400, "invalid_json", "The body is not valid JSON.") from broken
    if not isinstance(order, dict):
        raise Refused(400, "invalid_json", "The body must be a JSON object.")
    return order
