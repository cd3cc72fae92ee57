"""OpenRouter's Image API: JSON to `/images`, references as `input_references`, dollars stated.

Facts: docs/upstreams/openrouter.md.
"""

from __future__ import annotations

from typing import Any

from gateway.model.edit import Edit
from gateway.upstream.adapters.adapter import (
    Endpoint,
    JsonAdapter,
    completed_error,
    count,
    edit_block,
    prompt_of,
)
from gateway.wire.json_cutter import Number
from gateway.wire.json_writer import JsonBody
from gateway.wire.multipart_writer import EncodedBody

_MOST_REFERENCES = 16


class OpenRouter(JsonAdapter):
    """One path for edits and generations."""

    endpoint = Endpoint(
        "https://openrouter.ai/api/v1",
        "OPENROUTER_API_KEY",
        edits_path="/images",
        generations_path="/images",
        models_path="/images/models",
    )
    names = frozenset(
        {
            "n", "size", "aspect_ratio", "resolution", "quality", "background", "output_format",
            "output_compression", "seed", "provider",
        }
    )  # fmt: skip

    def encode(self, edit: Edit, boundary: str) -> EncodedBody:
        body = JsonBody()
        document: dict[str, Any] = {
            "model": edit.model,
            "prompt": prompt_of(edit, self.facts),
            **dict(self.asked(edit)),
        }
        if edit.references:
            document["input_references"] = [
                {"type": "image_url", "image_url": {"url": body.data_url(reference)}}
                for reference in edit.references
            ]
        return body.encode(document)

    def to_openai(self, answer: dict[str, Any], created: int) -> dict[str, Any]:
        usage = answer.get("usage")
        if not isinstance(usage, dict):
            return answer
        tokens = {
            "input_tokens": Number(count(usage.get("prompt_tokens"))),
            "output_tokens": Number(count(usage.get("completion_tokens"))),
        }
        return {**answer, "usage": {**usage, **tokens}}

    def error(self, status: int, body: bytes) -> tuple[int, bytes]:
        """A 403 is the word of a moderator on the prompt; a key that is refused is a 401."""
        return 400 if status == 403 else status, completed_error(status, body)

    def to_listing(self, document: Any) -> Any:
        items = [_item(item) for item in document["data"] if isinstance(item, dict)]
        return {"object": "list", "data": items}


def _item(item: dict[str, Any]) -> dict[str, Any]:
    """Its facts are in `supported_parameters`, as descriptors of ranges."""
    capabilities = item.get("supported_parameters")
    capabilities = capabilities if isinstance(capabilities, dict) else {}
    model = {"owned_by": "openrouter", **item, "object": "model"}
    references = min(_MOST_REFERENCES, _most(capabilities.get("input_references"), 0))
    return edit_block(model, references, _most(capabilities.get("n"), 1))


def _most(descriptor: Any, default: int) -> int:
    most = descriptor.get("max") if isinstance(descriptor, dict) else None
    return most if isinstance(most, int) and not isinstance(most, bool) else default
