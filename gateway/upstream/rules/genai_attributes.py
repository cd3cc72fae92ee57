"""The attributes of an upstream call's span, by OpenTelemetry's conventions for GenAI.

Of the predefined operations `generate_content` is the one that covers pictures. Neither prompt nor
pictures are part of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from gateway.model.edit import Edit
from gateway.model.money import NANOS
from gateway.model.reservation import Settlement

OPERATION = "generate_content"
PORTS = {"https": 443, "http": 80}


def facts_of_call(edit: Edit, provider: str, base_url: str) -> Mapping[str, str | int | None]:
    """Attributes known before the call; `provider` is the upstream's configured name."""
    address = urlsplit(base_url)
    return {
        "gen_ai.operation.name": OPERATION,
        "gen_ai.provider.name": provider,
        "gen_ai.request.model": edit.model,
        "gen_ai.request.choice.count": edit.n if edit.n != 1 else None,
        "gen_ai.output.type": "image",
        "server.address": address.hostname,
        "server.port": address.port or PORTS.get(address.scheme),
        "gateway.route": edit.route,
        "gateway.reference_images": len(edit.references),
    }


def facts_of_settlement(settlement: Settlement | None) -> Mapping[str, str | int | float | None]:
    """Attributes known after the call; none for a call that never left."""
    if settlement is None:
        return {}
    cost = settlement.cost_nanos
    return {
        "http.response.status_code": settlement.status,
        "gateway.upstream_request_id": settlement.upstream_request_id or None,
        "gateway.upstream_key": settlement.credential or None,
        "gateway.cost_usd": None if cost is None else cost / NANOS,
    }
