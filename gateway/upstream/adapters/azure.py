"""Azure OpenAI: OpenAI's forms at the path of a deployment, which is the model.

Facts: docs/upstreams/azure.md.
"""

from __future__ import annotations

from typing import Any

from gateway.model.edit import AdapterFacts
from gateway.upstream.adapters.adapter import Endpoint, completed_error, edit_block
from gateway.upstream.adapters.openai import OpenAI

_MOST_REFERENCES, _MOST_N = 16, 10
_DEPLOYMENT = "/openai/deployments/{model}/images"


class Azure(OpenAI):
    """The deployments are listed by the settings: the API has no list of them."""

    endpoint = Endpoint(
        "https://RESOURCE.openai.azure.com",
        "AZURE_OPENAI_API_KEY",
        auth="header:api-key",
        edits_path=f"{_DEPLOYMENT}/edits",
        generations_path=f"{_DEPLOYMENT}/generations",
        models_path="",
        query={"api-version": "2025-04-01-preview"},
    )

    def __init__(self, facts: AdapterFacts) -> None:
        """`auto` is no documented default of `quality`."""
        super().__init__(AdapterFacts({**facts.defaults, "quality": ""}))

    def always_base64(self, model: str) -> bool:
        return True

    def error(self, status: int, body: bytes) -> tuple[int, bytes]:
        return status, completed_error(status, body)

    def to_listing(self, document: Any) -> Any:
        data = [edit_block(item, _MOST_REFERENCES, _MOST_N) for item in document["data"]]
        return {**document, "data": data}
