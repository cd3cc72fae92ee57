"""Forms: what was typed, and the sentence beside the field that is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl

from gateway.model.errors import Refusal
from gateway.server.exchange import Exchange

MOST_FORM_BYTES = 2**18
MOST_FIELDS = 200
CSRF = "csrf"
CSRF_HEADER = "x-csrf-token"


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a form as typed. `message` says what is wrong with the field `wrong`."""

    values: Mapping[str, str] = field(default_factory=dict)
    wrong: str = ""
    message: str = ""

    def text(self, name: str) -> str:
        """What was typed, without the white space around it."""
        return self.values.get(name, "").strip()

    def filled(self, *names: str) -> dict[str, str]:
        """Those of the fields that are not empty."""
        return {name: text for name in names if (text := self.text(name))}

    def failed(self, refusal: Refusal, **fields: str) -> Form:
        """The form with what is wrong with it; `fields` are what refusals name otherwise."""
        name = refusal.param or ""
        return replace(self, wrong=fields.get(name, name), message=refusal.message)

    @property
    def general_message(self) -> str:
        """What is wrong with the form as a whole."""
        return "" if self.wrong in self.values else self.message


async def read_form(exchange: Exchange) -> Form:
    """The body of a form. Raises `body_too_large`, `invalid_field`."""
    body = bytearray()
    async for chunk in exchange.chunks():
        body += chunk
        if len(body) > MOST_FORM_BYTES:
            raise Refusal("body_too_large", f"A form has at most {MOST_FORM_BYTES:,} bytes.")
    try:
        return Form(fields_of(body.decode(), keep_blank=True))
    except ValueError:
        raise no_form() from None


def fields_of(text: str, *, keep_blank: bool = False) -> Mapping[str, str]:
    """The fields of a query or a form; of one that is given twice, the last.

    Raises `invalid_field`.
    """
    try:
        pairs = parse_qsl(text, keep_blank_values=keep_blank, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise no_form() from None
    return storable(dict(pairs))


def storable(values: Mapping[str, str]) -> Mapping[str, str]:
    """The fields, if every engine can store them: PostgreSQL has no NUL. Raises `invalid_field`."""
    if any("\0" in text for text in values.values()):
        raise no_form()
    return values


def no_form() -> Refusal:
    """The refusal of a body that no page of the console sends."""
    return Refusal("invalid_field", "This is no form of the console.")
