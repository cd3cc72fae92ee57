"""Parsing of a request to `/admin/v1`: its query and its JSON body, with errors as refusals."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, NoReturn, TypeVar, get_origin
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError

from gateway.accounts.tables.audit import Author
from gateway.api.admin.inputs import Body, Query
from gateway.model.errors import Refusal
from gateway.model.suggestions import did_you_mean
from gateway.settings import Settings

MOST_BODY_BYTES = 2**20
MOST_PARAMETERS = 100

Value = TypeVar("Value")
Input = TypeVar("Input", bound=BaseModel)
QueryT = TypeVar("QueryT", bound=Query, covariant=True)
BodyT = TypeVar("BodyT", bound=Body, covariant=True)


@dataclass(frozen=True, slots=True)
class AdminRequest(Generic[QueryT, BodyT]):
    """A permitted and parsed request.

    `by` is its author, and `team` the only team that it may read or change, for a token of a
    team. `key_id` and `end_user` narrow that for a member of the console. `sees_secrets`: the
    answer may hold the terms that are secret in themselves. `upload` is the body where it is a
    file.
    """

    path: Mapping[str, str]
    query: QueryT
    body: BodyT
    by: Author
    settings: Settings
    team: str | None = None
    key_id: str = ""
    end_user: str = ""
    sees_secrets: bool = False
    upload: bytes = b""
    wants_csv: bool = False


def query_of(text: str, model: type[Query]) -> Query:
    """The query's parameters, each given once unless it may be repeated.

    Raises `invalid_field`, `duplicate_field`.
    """
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_PARAMETERS)
    except ValueError:
        raise Refusal(
            "invalid_field", f"The query has more than {MOST_PARAMETERS} parameters."
        ) from None
    lists: dict[str, Any] = {name: [] for name in _repeatable(model)}
    for name, value in pairs:
        if name in lists:
            lists[name].append(value)
    single = dict(_once([pair for pair in pairs if pair[0] not in lists]))
    return parsed_query({**single, **lists}, model)


def _repeatable(model: type[Query]) -> set[str]:
    fields = model.model_fields.items()
    return {name for name, field in fields if get_origin(field.annotation) is tuple}


def parsed_query(given: Mapping[str, Any], model: type[Input]) -> Input:
    """The query of these parameters. Raises `invalid_field`."""
    return _parsed(model, given, "query parameter")


def parsed_body(given: Mapping[str, Any], model: type[Input]) -> Input:
    """The body of this JSON object. Raises `missing_field`, `invalid_field`."""
    return _parsed(model, given, "field")


async def body_of(chunks: AsyncIterator[bytes], model: type[Input]) -> Input:
    """The JSON body; an empty one is `{}`.

    Raises `body_too_large`, `invalid_json`, `duplicate_field`, `missing_field`, `invalid_field`.
    """
    body = await bytes_of(chunks, MOST_BODY_BYTES)
    return parsed_body(_document(body) if body else {}, model)


async def bytes_of(chunks: AsyncIterator[bytes], most_bytes: int) -> bytes:
    """The whole body. Raises `body_too_large`."""
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > most_bytes:
            raise Refusal("body_too_large", f"A body here has at most {most_bytes:,} bytes.")
    return bytes(body)


def _document(body: bytes) -> dict[str, Any]:
    """A JSON object, with numbers that have a fraction as Decimal."""
    try:
        document = json.loads(
            body,
            parse_float=Decimal,
            parse_constant=_refuse_constant,
            object_pairs_hook=lambda pairs: dict(_once(pairs)),
        )
    except (ValueError, RecursionError, ArithmeticError):
        raise Refusal(
            "invalid_json",
            "The body is not valid JSON: send one object, such as "
            '{"budget_usd": "50", "reason": "a new quarter"}.',
        ) from None
    if not isinstance(document, dict):
        raise Refusal("invalid_json", "The body is JSON, but no object: send {…}.")
    return document


def _once(pairs: list[tuple[str, Value]]) -> list[tuple[str, Value]]:
    seen = set()
    for name, _ in pairs:
        if name in seen:
            raise Refusal("duplicate_field", f"{name!r} is given twice; give it once.", name)
        seen.add(name)
    return pairs


def _refuse_constant(text: str) -> NoReturn:
    """NaN and the infinities, which are no JSON."""
    raise ValueError(text)


def _parsed(model: type[Input], given: Mapping[str, Any], what: str) -> Input:
    """The model of what is given. Raises `missing_field`, `invalid_field`, naming the first."""
    try:
        return model.model_validate(given)
    except ValidationError as error:
        errors = error.errors(include_url=False)
    unknown = [each for each in errors if each["type"] == "extra_forbidden"]
    first = (unknown or errors)[0]
    name = str(first["loc"][0])
    if unknown:
        raise Refusal("invalid_field", _unknown(name, model, what), name)
    if first["type"] == "missing":
        raise Refusal("missing_field", f"Give {name} in the JSON body.", name)
    facts = first.get("ctx", {})
    why = facts.get("error") or f"is {facts.get('expected')}."
    raise Refusal("invalid_field", f"{name} {why}", name)


def _unknown(name: str, model: type[BaseModel], what: str) -> str:
    known = sorted(each.alias or own for own, each in model.model_fields.items())
    return f"This route has no {what} {name!r}. {did_you_mean(name, known)}"
