"""One smallest edit, made like a request of a key: what `gateway check --try-edit` buys.

It runs in a process of its own that shares the gateway's state, as a further worker does: the key's
limits and budgets hold, and the call is reserved, booked and recorded like any other.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import struct
import uuid
import zlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace

from gateway.edits.edit_request import Admitted, Incoming, Reply
from gateway.edits.quotation import Quotation
from gateway.model.caller import Caller
from gateway.model.errors import Refusal
from gateway.pricing.rules.image_tokens import Asked
from gateway.queries.models.request_status import RequestView
from gateway.runtime.container import Container
from gateway.telemetry.request_record import RequestRecord
from gateway.uploads.spool import Spool
from gateway.upstream.rules.model_limits import may_use
from gateway.wire.cache_directives import NO_DIRECTIVES

_PROMPT = "Make this picture grey."
_SIDE_PIXELS = 256
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class TrialEdit:
    """An edit that can be made, and what each of its targets would reserve for it."""

    request_id: str
    caller: Caller
    model: str
    choices: Mapping[str, str]
    """What makes it cheap: quality and size."""
    ceilings: Mapping[str, int] = field(default_factory=dict)
    """In nano-dollars, by target, in the order in which they are tried."""


@dataclass(frozen=True, slots=True)
class TriedEdit:
    """How the edit ended: the reply's or refusal's place in the books."""

    refusal: Refusal | None
    status: RequestView
    seconds: float


async def plan_trial(parts: Container, key_id: str, model: str | None) -> TrialEdit:
    """The smallest edit of a model, or of the cheapest one. Buys nothing.

    Raises Refusal where the key could not buy it.
    """
    await parts.catalogues.ensure_loaded()
    caller = parts.authenticator.caller_of_key(key_id, parts.context.clock())
    name = model or _cheapest_model(parts, caller)
    route = await parts.catalogues.find(name)
    target = route.targets[0]
    choices, _ = _choices(parts, target.upstream, target.model)
    trial = TrialEdit(f"req_{uuid.uuid4().hex}", caller, name, choices)
    pipeline = parts.edits.pipeline
    incoming, record = _incoming(trial), RequestRecord(trial.request_id, "edits")
    with Spool(pipeline.spool_memory, pipeline.spool_folder) as spool:
        admitted = Admitted(caller, NO_DIRECTIVES, _JSON)
        found = await pipeline.read(admitted, incoming, spool, record)
        request = pipeline.fingerprint(found, admitted, spool, record)
        ceilings = {
            str(each.target): await pipeline.upstreams[each.target.upstream].budget.check(each)
            for each in request.at_targets
        }
    return replace(trial, ceilings=ceilings)


async def make_trial(parts: Container, trial: TrialEdit) -> TriedEdit:
    """Buy the edit, and read what is booked for it."""
    record, refused = RequestRecord(trial.request_id, "edits"), None
    try:
        await parts.edits.serve(trial.caller, _incoming(trial), record)
    except Refusal as refusal:
        refused = refusal
    await parts.coalescing.flights.drain(parts.context.settings.longest_flight_ms / 1000)
    status = await parts.edits.request_status.read(trial.request_id, trial.caller)
    return TriedEdit(refused, status, record.seconds)


def _cheapest_model(parts: Container, caller: Caller) -> str:
    catalogues = parts.catalogues
    prices = {}
    for name in catalogues.routing.names(catalogues.listings):
        route = catalogues.route(name)
        if route and may_use(name, caller.accounts):
            target = route.targets[0]
            facts = catalogues.facts(target, name)
            if facts and facts.edit_supported:
                prices[name] = _choices(parts, target.upstream, target.model)[1]
    if not prices:
        raise Refusal(
            "model_not_found",
            "No model that this key may use is known to edit pictures: name one with --model.",
        )
    return min(prices, key=lambda name: prices[name])


def _choices(parts: Container, upstream: str, model: str) -> tuple[Mapping[str, str], int]:
    """The fields that make a picture of the model cheapest, and what one then costs at most."""
    prices, day = parts.context.prices, parts.budgets.service.today
    price = prices.table.price_of(upstream, model, day)
    quality, size = price.cheapest() if price else ("", "")
    ceiling = prices.of(upstream, model, Asked(quality, size, files=1), day)
    in_pixels = re.fullmatch(r"\d+x\d+", size)
    fields = {
        "quality": quality,
        "size": size if in_pixels else "",
        "resolution": "" if in_pixels else size.upper(),  # 1K
    }
    return {name: value for name, value in fields.items() if value}, ceiling.nanos


def _incoming(trial: TrialEdit) -> Incoming:
    picture = base64.b64encode(_grey_png(_SIDE_PIXELS)).decode()
    document = {
        "model": trial.model,
        "prompt": f"{_PROMPT} ({trial.request_id})",  # no stored result answers it
        "images": [{"image_url": f"data:image/png;base64,{picture}"}],
        **trial.choices,
    }

    async def chunks() -> AsyncIterator[bytes]:
        yield json.dumps(document).encode()

    async def ignore(_reply: Reply | bytes | Quotation) -> None:
        """The picture is stored like any other; nobody waits for it."""

    async def never_gone() -> None:
        await asyncio.get_running_loop().create_future()

    return Incoming(
        route="edits",
        headers={"content-type": _JSON},
        address="",
        chunks=chunks,
        gone=never_gone,
        begin=ignore,
        send=ignore,
        answer=ignore,
        tell=ignore,
    )


def _grey_png(side: int) -> bytes:
    """A square of one grey."""
    rows = (b"\0" + b"\x80" * side) * side
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )
