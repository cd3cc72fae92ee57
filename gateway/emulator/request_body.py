"""The request of a call: multipart or JSON, read and checked by the rules all wires share."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from starlette.requests import Request

from gateway.emulator.catalogue import Model
from gateway.emulator.refusals import Refused, bad_field
from gateway.emulator.sizing import Size, asked_size

Route = Literal["edits", "generations"]

_FORMATS = ("png", "jpeg", "webp")
_REFERENCE = re.compile(r"image(\[\d*\])?", re.ASCII)
_LONGEST_PROMPT = 32_000


class Parts(NamedTuple):
    """The parts of a request's body, not yet checked."""

    fields: Mapping[str, str]
    pictures: tuple[bytes, ...] = ()
    mask: bytes | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that the model can serve; with `size` None the picture keeps its own."""

    route: Route
    model: Model
    prompt: str
    pictures: tuple[bytes, ...]
    mask: bytes | None
    n: int
    size: Size | None
    output_format: str
    output_compression: int
    as_url: bool
    stream: bool
    partial_images: int
    quality: str
    background: str
    fidelity: str = "low"
    is_blocked: bool = False
    """The prompt has the word that the provider's safety system refuses."""


def asked_of(route: Route, model: Model, parts: Parts) -> Asked:
    """The request of these parts, every known field checked. Raises Refused."""
    fields = parts.fields
    if route == "edits":
        _check_references(model, len(parts.pictures))
    stream = _choice(fields, "stream", ("false", "true", "0", "1")) in ("true", "1")
    n = _n(fields, model)
    if stream and n > 1:
        raise Refused(400, "unsupported_n", "A stream carries one picture; leave n out.", "n")
    prompt = _prompt(fields)
    return Asked(
        route=route,
        model=model,
        prompt=prompt,
        pictures=parts.pictures,
        mask=parts.mask,
        n=n,
        size=asked_size(fields),
        output_format=_choice(fields, "output_format", _FORMATS),
        output_compression=_number(fields, "output_compression", 90, range(101)),
        as_url=_choice(fields, "response_format", ("b64_json", "url")) == "url",
        stream=stream,
        partial_images=_number(fields, "partial_images", 0, range(4)),
        quality=fields.get("quality", "auto"),
        background=fields.get("background", "auto"),
        fidelity=fields.get("input_fidelity", "low"),
        is_blocked=bool(re.search(r"\bforbidden\b", prompt, re.IGNORECASE)),
    )


def named_model(fields: Mapping[str, str]) -> str:
    """The name of the model. Raises Refused without one."""
    if name := fields.get("model", ""):
        return name
    raise Refused(400, "missing_field", "Name a model.", "model")


async def read_multipart(request: Request) -> Parts:
    """An edit: references are `image`, `image[]` or `image[0]`, in order of arrival."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise Refused(415, "unsupported_media_type", "Send an edit as multipart/form-data.")
    fields: dict[str, str] = {}
    pictures: list[bytes] = []
    mask = None
    async with request.form() as form:
        for name, value in form.multi_items():
            if isinstance(value, str):
                fields[name] = value
            elif not (content := await value.read()):
                raise Refused(400, "invalid_image", "The file is empty.", name)
            elif _REFERENCE.fullmatch(name):
                pictures.append(content)
            elif name in ("mask", "mask[]"):
                mask = content
    return Parts(fields, tuple(pictures), mask)


async def read_document(request: Request) -> dict[str, Any]:
    """The JSON object of a request's body. Raises Refused."""
    try:
        document = json.loads(await request.body())
    except ValueError as broken:
        raise Refused(400, "invalid_json", "The body is not valid JSON.") from broken
    if not isinstance(document, dict):
        raise Refused(400, "invalid_json", "The body must be a JSON object.")
    return document


def as_texts(document: Mapping[str, Any]) -> dict[str, str]:
    """The members of a JSON object as text, as in multipart; nulls are left out."""
    given = {name: value for name, value in document.items() if value is not None}
    return {n: v if isinstance(v, str) else json.dumps(v) for n, v in given.items()}


def from_data_url(url: object, param: str) -> bytes:
    """The picture of a data URL. Raises Refused; nothing is fetched."""
    head, _, text = url.partition(";base64,") if isinstance(url, str) else ("", "", "")
    if not head.startswith("data:image/"):
        raise Refused(400, "invalid_image", "The emulator takes pictures as data URLs.", param)
    return from_base64(text, param)


def from_base64(text: object, param: str) -> bytes:
    """The bytes of base64 text. Raises Refused."""
    try:
        return base64.b64decode(text if isinstance(text, str) else "!", validate=True)
    except ValueError as broken:
        raise Refused(400, "invalid_image", "The image is not valid base64.", param) from broken


def _check_references(model: Model, given: int) -> None:
    cap = model.max_reference_images
    if not model.can_edit:
        raise Refused(400, "edit_not_supported", f"{model.id} does not support editing.", "model")
    if not given:
        raise Refused(400, "missing_field", "Send at least one image file.", "image")
    if given > cap:
        message = f"{model.id} accepts up to {cap} reference images, got {given}."
        raise Refused(400, "too_many_reference_images", message, "image")


def _prompt(fields: Mapping[str, str]) -> str:
    prompt = fields.get("prompt", "")
    if not prompt.strip():
        raise Refused(400, "missing_field", "Send a prompt.", "prompt")
    if len(prompt) > _LONGEST_PROMPT:
        raise bad_field("prompt", f"A prompt has at most {_LONGEST_PROMPT} characters.")
    return prompt


def _n(fields: Mapping[str, str], model: Model) -> int:
    n = _number(fields, "n", 1, range(1, 11))
    if n > model.max_n:
        allowed = "only n: 1" if model.max_n == 1 else f"n up to {model.max_n}"
        raise Refused(400, "unsupported_n", f"{model.id} supports {allowed}.", "n")
    return n


def _number(fields: Mapping[str, str], name: str, default: int, allowed: range) -> int:
    text = fields.get(name, str(default)).strip()
    if not re.fullmatch(r"\d{1,6}", text, re.ASCII) or int(text) not in allowed:
        span = f"{allowed.start} to {allowed.stop - 1}"
        raise bad_field(name, f"{name} must be a whole number, {span}.")
    return int(text)


def _choice(fields: Mapping[str, str], name: str, allowed: Sequence[str]) -> str:
    """The field's value, or the first allowed one where it is not given."""
    value = fields.get(name, allowed[0])
    if value not in allowed:
        raise bad_field(name, f"{name} must be one of {', '.join(allowed)}.")
    return value
