"""xAI's image API: JSON with pictures as data URLs, the cost in ticks of 1e-10 dollars.

Facts: docs/upstreams/xai.md.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from gateway.model.edit import Edit
from gateway.upstream.adapters.adapter import (
    Endpoint,
    JsonAdapter,
    edit_block,
    error_body,
    prompt_of,
)
from gateway.wire.answer import upstream_error
from gateway.wire.json_cutter import Number, plain_parse
from gateway.wire.json_writer import JsonBody
from gateway.wire.multipart_writer import EncodedBody

_MOST_REFERENCES, _MOST_N = 3, 10
_EDITS = re.compile(r"grok-imagine-image")
_PICTURES = re.compile(r"grok-.*image")
_TICKS = "cost_in_usd_ticks"
_TICK_DIGITS = -10
_WRONG_KEY = "Incorrect API key"
_SIZE = "Send aspect_ratio such as 3:2, and resolution 1k or 2k."


class XAI(JsonAdapter):
    """One picture is `image`, several are `images`; base64 has to be asked for."""

    endpoint = Endpoint("https://api.x.ai/v1", "XAI_API_KEY")
    names = frozenset({"n", "aspect_ratio", "resolution", "quality", "response_format"})
    defaults = {"output_format": "jpeg"}  # noqa: RUF012
    instead = {"size": _SIZE, "width": _SIZE, "height": _SIZE}  # noqa: RUF012

    def encode(self, edit: Edit, boundary: str) -> EncodedBody:
        body = JsonBody()
        document: dict[str, Any] = {
            "model": edit.model,
            "prompt": prompt_of(edit, self.facts),
            "response_format": "b64_json",
            **dict(self.asked(edit)),
        }
        pictures = [{"url": body.data_url(reference)} for reference in edit.references]
        if len(pictures) == 1:
            document["image"] = pictures[0]
        elif pictures:
            document["images"] = pictures
        return body.encode(document)

    def to_openai(self, answer: dict[str, Any], created: int) -> dict[str, Any]:
        usage = answer.get("usage")
        if isinstance(usage, dict) and _TICKS in usage:
            others = {name: value for name, value in usage.items() if name != _TICKS}
            usage = {**others, "cost": _dollars(usage[_TICKS])}
        return {"created": created, **answer, "usage": usage}

    def error(self, status: int, body: bytes) -> tuple[int, bytes]:
        """A wrong key is a 400. The envelope is `code` and `error`, both texts."""
        error = upstream_error(body)
        if error is None:
            return status, body
        if status == 400 and error.message.startswith(_WRONG_KEY):
            return 401, error_body(error.message, "invalid_api_key", status=401)
        return status, error_body(error.message, error.code or _code(body), status=status)

    def to_listing(self, document: Any) -> Any:
        """Of all models those that make pictures."""
        items = [
            edit_block(item, _MOST_REFERENCES if _EDITS.match(item["id"]) else 0, _MOST_N)
            for item in document["data"]
            if isinstance(item, dict) and _PICTURES.match(str(item.get("id")))
        ]
        return {**document, "data": items}


def _dollars(ticks: Any) -> Any:
    """Ticks as an amount in dollars; what is no number of ticks stays as it is."""
    if isinstance(ticks, Number) and re.fullmatch(r"\d{1,30}", ticks, re.ASCII):
        return Number(format(Decimal(ticks).scaleb(_TICK_DIGITS), "f"))
    return ticks


def _code(body: bytes) -> str | None:
    """The text beside the error's."""
    code = plain_parse(body).get("code")
    return code if isinstance(code, str) and not isinstance(code, Number) else None
