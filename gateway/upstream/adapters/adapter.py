"""What an adapter is: the difference between one upstream's API and OpenAI's. Pure.

Requests are the gateway's own, which are OpenAI's; answers come back in OpenAI's form. What an API
can't say is refused before any money is reserved: nothing is dropped in silence.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from gateway.model.edit import AdapterFacts, Edit, is_reference
from gateway.model.errors import Refusal
from gateway.wire.answer import upstream_error
from gateway.wire.json_cutter import Number
from gateway.wire.multipart_writer import EncodedBody, outgoing_fields, outgoing_members
from gateway.wire.request_fields import MASK, NUMBERS, TEXTS
from gateway.wire.token_usage import token_count

_JSON_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?", re.ASCII)
_AUTOMATIC = {
    **dict.fromkeys(("size", "aspect_ratio", "quality", "background", "moderation"), "auto"),
    "response_format": "b64_json",
}
"""What such an API does by itself, or is always asked for."""
_OF_THE_GATEWAY = frozenset({"user", "safety_identifier", "stream", "partial_images"})
"""Fields that concern the gateway: it books by end user, and makes a stream of a plain answer."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an API is, and how it takes its key; settings may say otherwise.

    In paths, `{model}` is the name of the model. Without `models_path` the API has no list of
    models.
    """

    base_url: str
    key_variable: str
    auth: str = "bearer"
    edits_path: str = "/images/edits"
    generations_path: str = "/images/generations"
    models_path: str = "/models"
    query: Mapping[str, str] = field(default_factory=dict)


class Adapter(ABC):
    """The API of one upstream."""

    endpoint: ClassVar[Endpoint]
    streams: ClassVar[bool] = False
    """It answers `stream=true` with OpenAI's events."""

    def __init__(self, facts: AdapterFacts) -> None:
        self.facts = facts

    @abstractmethod
    def check(self, edit: Edit) -> None:
        """Raises `unsupported_field` where the API can't say what the edit asks for."""

    @abstractmethod
    def encode(self, edit: Edit, boundary: str) -> EncodedBody:
        """The body of a checked edit. `boundary` is random, for a multipart body."""

    def to_openai(self, answer: dict[str, Any], created: int) -> dict[str, Any]:
        """A good answer in OpenAI's form; `created` is the time in Unix seconds.

        Stated dollars are at `usage.cost`. An `error` in it is that of an answer without a picture.
        """
        return answer

    def error(self, status: int, body: bytes) -> tuple[int, bytes]:
        """The status and body of another answer than 200, in OpenAI's form."""
        return status, body

    def to_listing(self, document: Any) -> Any:
        """The list of models in OpenAI's form, with an `edit` block where facts are known."""
        return document


class JsonAdapter(Adapter):
    """An API that takes JSON, with pictures as base64 in both directions."""

    names: ClassVar[frozenset[str]]
    """Fields that can be sent."""
    defaults: ClassVar[Mapping[str, str]] = {}
    """Documented defaults besides `_AUTOMATIC`; a default is never sent."""
    instead: ClassVar[Mapping[str, str]] = {}
    """For a refusal: what to send instead of a field."""

    def __init__(self, facts: AdapterFacts) -> None:
        super().__init__(AdapterFacts({**facts.defaults, **_AUTOMATIC, **self.defaults}))

    def check(self, edit: Edit) -> None:
        for upload in edit.uploads:
            if not is_reference(upload.field):
                raise self.unsupported(upload.field)
        for name, value in self.asked(edit):
            if name not in self.names:
                raise self.unsupported(name)
            self.check_value(name, value)

    def check_value(self, name: str, value: Any) -> None:
        """Raises `unsupported_field` where the API has the field, but not this value."""

    def asked(self, edit: Edit) -> Iterator[tuple[str, Any]]:
        """What the edit asks for besides model and prompt, as members of a JSON document.

        Documented defaults are left out, and fields that concern the gateway alone.
        """
        for name, value in _members(edit, self.facts):
            if (
                name not in TEXTS
                and name not in _OF_THE_GATEWAY
                and not self._is_default(name, value)
            ):
                yield name, value

    def _is_default(self, name: str, value: Any) -> bool:
        text = json.dumps(value) if isinstance(value, bool) else value
        return bool(text == self.facts.defaults.get(name))

    def unsupported(self, name: str, why: str = "") -> Refusal:
        advice = self.instead.get(name, "Leave it out, or choose another model.")
        why = why or "has no such field"
        message = f"`{name}` can't be sent to this model's upstream: its API {why}. {advice}"
        return Refusal("unsupported_field", message, param=MASK if name == MASK else name)


def _members(edit: Edit, facts: AdapterFacts) -> Iterator[tuple[str, Any]]:
    if edit.document:
        yield from outgoing_members(edit, facts).items()
        return
    for name, text in outgoing_fields(edit, facts):
        is_number = name in NUMBERS and _JSON_NUMBER.fullmatch(text)
        yield name, Number(text) if is_number else text


def prompt_of(edit: Edit, facts: AdapterFacts) -> str:
    """The prompt as it goes upstream."""
    return str(dict(_members(edit, facts))["prompt"])


def error_body(message: str, code: str | None, *, status: int) -> bytes:
    """OpenAI's error envelope."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    error = {"message": message, "type": kind, "param": None, "code": code}
    return json.dumps({"error": error}).encode()


def completed_error(status: int, body: bytes) -> bytes:
    """An error in nearly OpenAI's form, with all four members; others as they are."""
    error = upstream_error(body)
    return error_body(error.message, error.code, status=status) if error else body


def count(value: object) -> int:
    """A number of tokens; 0 where it is none."""
    return token_count(value) or 0


def edit_block(item: dict[str, Any], most_references: int, most_n: int = 1) -> dict[str, Any]:
    """The item of a model that takes this many references; 0: it can't edit."""
    edit: dict[str, Any] = {"supported": most_references > 0}
    if most_references:
        edit["max_reference_images"] = most_references
    return {**item, "edit": edit, "max_n": most_n}
