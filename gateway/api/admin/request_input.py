"""What was asked: the query and the JSON document of a request, checked name by name."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import NoReturn, TypeVar
from urllib.parse import parse_qsl

from gateway.accounts.rules.field_types import is_text
from gateway.accounts.tables.audit import Author
from gateway.model.errors import Refusal
from gateway.model.suggestions import did_you_mean
from gateway.settings import Settings

MOST_BODY_BYTES = 2**20
MOST_PARAMETERS = 100

Document = Mapping[str, object]
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class AdminRequest:
    """A request that may go on.

    `path`, `query` and `document` are what it names, `by` is whoever asks, and `confined_to`
    the team outside which nothing may be read or changed. `sees_secrets` is for whoever sets
    them: what is a secret in itself is shown to nobody else.
    """

    path: Mapping[str, str]
    query: Mapping[str, str]
    document: Document
    by: Author
    settings: Settings
    confined_to: str | None = None
    sees_secrets: bool = False

    def flag(self, name: str) -> bool:
        """A query parameter that is true or false; false where it is left out."""
        text = self.query.get(name, "false").lower()
        if text not in ("true", "false"):
            raise Refusal("invalid_field", f"{name} is true or false.", param=name)
        return text == "true"

    def needed(self, name: str) -> object:
        """A field of the document. Raises `missing_field`."""
        if self.document.get(name) is None:
            raise Refusal("missing_field", f"Give {name} in the JSON body.", param=name)
        return self.document[name]

    def text(self, name: str) -> str:
        """A field of the document that is one line. Raises `missing_field`, `invalid_field`."""
        value = self.needed(name)
        if not isinstance(value, str) or not is_text(value):
            raise Refusal("invalid_field", f"{name} takes one line of text.", param=name)
        return value

    def rest(self, *taken: str) -> Document:
        """The document without those fields: the terms of an account."""
        return {name: value for name, value in self.document.items() if name not in taken}


def check_names(given: Iterable[str], known: Iterable[str], what: str) -> None:
    """Raises `invalid_field` for a name that isn't known, naming the nearest that is."""
    names = sorted(known)
    for name in given:
        if name not in names:
            message = f"This route has no {what} {name!r}. {did_you_mean(name, names)}"
            raise Refusal("invalid_field", message, name)


def query_of(text: str, known: Iterable[str]) -> Mapping[str, str]:
    """The query's parameters, each a line of text given once. Raises Refusal."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_PARAMETERS)
    except ValueError:
        raise Refusal(
            "invalid_field", f"The query has more than {MOST_PARAMETERS} parameters."
        ) from None
    check_names((name for name, _ in pairs), known, "query parameter")
    query = dict(_once(pairs))
    for name, value in query.items():
        if not is_text(value):
            raise Refusal("invalid_field", f"{name} takes one line of text.", param=name)
    return query


async def document_of(chunks: AsyncIterator[bytes]) -> Document:
    """The JSON object of a body, numbers with a fraction as Decimal; no body is `{}`.

    Raises `body_too_large`, `invalid_json`, `duplicate_field`.
    """
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > MOST_BODY_BYTES:
            raise Refusal("body_too_large", f"A body here has at most {MOST_BODY_BYTES:,} bytes.")
    if not body:
        return MappingProxyType({})
    return _parsed(bytes(body))


def _parsed(body: bytes) -> Document:
    try:
        document = json.loads(
            body, parse_float=Decimal, parse_constant=_no_constant, object_pairs_hook=_object
        )
    except (ValueError, RecursionError, ArithmeticError):
        raise Refusal(
            "invalid_json",
            "The body is not valid JSON: send one object, such as "
            '{"budget_usd": "50", "reason": "a new quarter"}.',
        ) from None
    if not isinstance(document, dict):
        raise Refusal("invalid_json", "The body is JSON, but no object: send {…}.")
    return MappingProxyType(document)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    return dict(_once(pairs))


def _once(pairs: list[tuple[str, Value]]) -> list[tuple[str, Value]]:
    seen = set()
    for name, _ in pairs:
        if name in seen:
            raise Refusal("duplicate_field", f"{name!r} is given twice; give it once.", name)
        seen.add(name)
    return pairs


def _no_constant(text: str) -> NoReturn:
    raise ValueError(text)
