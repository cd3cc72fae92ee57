"""The emulator's own endpoints, under /emulator: faults to order, books to read.

They need no key: the emulator is for tests and demos on a loopback address.
"""

from __future__ import annotations

import json
from decimal import Decimal

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from gateway.emulator.emulator import Emulator
from gateway.emulator.refusals import Refused, bad_field, told_to_fail


def control_routes(emulator: Emulator) -> list[Route]:
    """The routes of one emulator."""
    books, faults = emulator.books, emulator.faults

    async def order_faults(request: Request) -> Response:
        """{"next": [knobs, …], "always": knobs}, either may be left out; see `Knobs`."""
        try:
            order = json.loads(await request.body(), parse_float=Decimal)
        except ValueError as broken:
            raise Refused(400, "invalid_json", "The body is not valid JSON.") from broken
        if not isinstance(order, dict) or order.keys() - {"next", "always"}:
            raise bad_field("next", "An order is an object of `next` and `always` only.")
        coming, always = order.get("next", []), order.get("always")
        if not isinstance(coming, list) or not all(isinstance(knobs, dict) for knobs in coming):
            raise bad_field("next", "next must be a list of objects, one for each coming call.")
        if always is not None and not isinstance(always, dict):
            raise bad_field("always", "always must be an object.")
        faults.plan(coming, always)
        return JSONResponse({"queued": faults.queued})

    async def clear_faults(request: Request) -> Response:
        faults.clear()
        return JSONResponse({"queued": 0})

    async def release(request: Request) -> Response:
        return JSONResponse({"released": emulator.waits.release()})

    async def reset(request: Request) -> Response:
        emulator.reset()
        return JSONResponse(books.stats())

    async def stats(request: Request) -> Response:
        return JSONResponse(books.stats())

    async def statement(request: Request) -> Response:
        if request.query_params.get("format") == "csv":
            return PlainTextResponse(books.statement_csv(), media_type="text/csv")
        return JSONResponse(books.charges)

    async def file(request: Request) -> Response:
        picture, error_status = emulator.files.get(request.path_params["name"], (None, None))
        if picture is None:
            raise Refused(404, "not_found", "There is no such picture, or not any longer.")
        if error_status is not None:
            raise told_to_fail(error_status)
        return Response(picture.content, media_type=f"image/{picture.format}")

    return [
        Route("/emulator/faults", order_faults, methods=["POST"]),
        Route("/emulator/faults", clear_faults, methods=["DELETE"]),
        Route("/emulator/release", release, methods=["POST"]),
        Route("/emulator/reset", reset, methods=["POST"]),
        Route("/emulator/stats", stats),
        Route("/emulator/statement", statement),
        Route("/emulator/files/{name}", file, name="file"),
    ]
