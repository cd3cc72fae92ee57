"""The APIs that an upstream may have: one module each, and the table of their names.

A new one is a module here, a row of this table, a wire of the emulator, and a page in
docs/upstreams/.
"""

from collections.abc import Mapping

from gateway.upstream.adapters.adapter import Adapter, Endpoint
from gateway.upstream.adapters.azure import Azure
from gateway.upstream.adapters.gemini import Gemini
from gateway.upstream.adapters.openai import OpenAI
from gateway.upstream.adapters.openrouter import OpenRouter
from gateway.upstream.adapters.xai import XAI

ADAPTERS: Mapping[str, type[Adapter]] = {
    "openai": OpenAI,
    "azure": Azure,
    "openrouter": OpenRouter,
    "xai": XAI,
    "gemini": Gemini,
}

__all__ = ["ADAPTERS", "Adapter", "Endpoint", "OpenAI"]
