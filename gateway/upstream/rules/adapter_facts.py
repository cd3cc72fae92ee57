"""What the API of an upstream documents, known by the upstream's host."""

from __future__ import annotations

from urllib.parse import urlsplit

from gateway.model.edit import AdapterFacts

_OPENAI_HOSTS = ("api.openai.com", ".openai.azure.com")
_OPENAI_DEFAULTS = {
    **dict.fromkeys(("size", "quality", "background", "moderation"), "auto"),
    "output_format": "png",
    "output_compression": "100",
}


def adapter_facts(base_url: str) -> AdapterFacts:
    """The facts of the upstream at `base_url`; of an unknown one, those of any compatible API."""
    facts = AdapterFacts()
    if f".{urlsplit(base_url).hostname}".endswith(_OPENAI_HOSTS):
        return AdapterFacts({**facts.defaults, **_OPENAI_DEFAULTS})
    return facts
