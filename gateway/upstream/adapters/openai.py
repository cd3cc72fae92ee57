"""OpenAI's API, and every API that is like it: requests and answers as they are.

Facts: docs/upstreams/openai.md.
"""

from __future__ import annotations

import re
from typing import Any

from gateway.model.edit import Edit
from gateway.upstream.adapters.adapter import Adapter, Endpoint, edit_block
from gateway.wire.changed_field import with_field
from gateway.wire.json_cutter import compact
from gateway.wire.multipart_writer import EncodedBody, encode, outgoing_members
from gateway.wire.request_fields import value_of

_GPT_IMAGE = re.compile(r"(chatgpt|gpt)-image")
"""Models that always answer with base64, and refuse `response_format`."""
_DALL_E = re.compile(r"dall-e-")
"""Models that answer with an address unless base64 is asked for."""
_MOST_N = 10
_MOST_REFERENCES = {"dall-e-2": 1, "dall-e-3": 0}
_GPT_REFERENCES = 16
_FORMAT = "response_format"
_BASE64 = "b64_json"


class OpenAI(Adapter):
    """The fields and files of the client, in our own framing."""

    endpoint = Endpoint("https://api.deepshi.ai/v1", "DEEPSHI_API_KEY")
    streams = True

    def check(self, edit: Edit) -> None:
        """Every field can be said; what is unknown travels as it is."""

    def encode(self, edit: Edit, boundary: str) -> EncodedBody:
        given = value_of(edit.fields, _FORMAT) or None
        if given == _BASE64 and self.always_base64(edit.model):
            return self._framed(with_field(edit, _FORMAT, None), boundary)
        if given is None and _DALL_E.match(edit.model):
            return self._framed(with_field(edit, _FORMAT, _BASE64), boundary)
        return self._framed(edit, boundary)

    def always_base64(self, model: str) -> bool:
        """The model answers with base64, and refuses to be asked for it."""
        return bool(_GPT_IMAGE.match(model))

    def _framed(self, edit: Edit, boundary: str) -> EncodedBody:
        if not edit.document:
            return encode(edit, boundary, self.facts)
        document = compact(outgoing_members(edit, self.facts)).encode("ascii")
        return EncodedBody("application/json", len(document), (document,))

    def to_listing(self, document: Any) -> Any:
        """OpenAI's own models get the `edit` block that its list lacks."""
        data = document.get("data") if isinstance(document, dict) else None
        if not isinstance(data, list):
            return document
        return {**document, "data": [_with_facts(item) for item in data]}


def _with_facts(item: Any) -> Any:
    name = item.get("id") if isinstance(item, dict) else None
    if not isinstance(name, str) or "edit" in item:
        return item
    if name in _MOST_REFERENCES:
        return edit_block(item, _MOST_REFERENCES[name], 1 if name == "dall-e-3" else _MOST_N)
    return edit_block(item, _GPT_REFERENCES, _MOST_N) if _GPT_IMAGE.match(name) else item
