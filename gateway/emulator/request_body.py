"""What a call asks for: multipart or JSON in, a checked `Asked` out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from starlette.datastructures import UploadFile
from starlette.requests import Request

from gateway.emulator.catalogue import Model
from gateway.emulator.refusals import Refused, bad_field
from gateway.emulator.sizing import Size, asked_size

Route = Literal["edits", "generations"]

FORMATS = ("png", "jpeg", "webp")
_REFERENCE = re.compile(r"image(\[\d*\])?", re.ASCII)
_LONGEST_PROMPT = 32_000


@dataclass(frozen=True, slots=True)
class Parts:
    """A request's body taken apart, not yet understood."""

    fields: Mapping[str, str]
    pictures: tuple[bytes, ...] = ()
    mask: bytes | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A call that the model can serve. `size` None leaves it to the picture."""

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


async def read_call(request: Request, route: Route, models: Sequence[Model]) -> Asked:
    """Read the whole body and check it against the catalogue; raises Refused."""
    parts = await (read_multipart(request) if route == "edits" else read_json(request))
    return understood(route, parts, models)


async def read_multipart(request: Request) -> Parts:
    """An edit's parts: references under `image`, `image[]` or `image[0]`, in arrival order."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise Refused(415, "unsupported_media_type", "Send an edit as multipart/form-data.")
    fields: dict[str, str] = {}
    pictures: list[bytes] = []
    mask = None
    async with request.form() as form:
        for name, value in form.multi_items():
            if isinstance(value, str):
                fields[name] = value
            elif _REFERENCE.fullmatch(name):
                pictures.append(await _content(value, name))
            elif name in ("mask", "mask[]"):
                mask = await _content(value, name)
    return Parts(fields, tuple(pictures), mask)


async def _content(upload: UploadFile, name: str) -> bytes:
    content = await upload.read()
    if not content:
        raise Refused(400, "invalid_image", "The file is empty.", name)
    return content


async def read_json(request: Request) -> Parts:
    """A generation's fields as texts, as multipart would carry them; nulls are left out."""
    try:
        document = json.loads(await request.body())
    except ValueError as broken:
        raise Refused(400, "invalid_json", "The body is not valid JSON.") from broken
    if not isinstance(document, dict):
        raise Refused(400, "invalid_json", "The body must be a JSON object.")
    given = {name: value for name, value in document.items() if value is not None}
    return Parts({n: v if isinstance(v, str) else json.dumps(v) for n, v in given.items()})


def understood(route: Route, parts: Parts, models: Sequence[Model]) -> Asked:
    """Check every field; raises Refused with the answer the provider would give."""
    fields = parts.fields
    model = _model(fields, models)
    if route == "edits":
        _check_references(model, parts)
    stream = _flag(fields, "stream")
    n = _n(fields, model)
    if stream and n > 1:
        raise Refused(400, "unsupported_n", "A stream carries one picture; leave n out.", "n")
    return Asked(
        route=route,
        model=model,
        prompt=_prompt(fields),
        pictures=parts.pictures,
        mask=parts.mask,
        n=n,
        size=asked_size(fields),
        output_format=_choice(fields, "output_format", FORMATS),
        output_compression=_number(fields, "output_compression", 90, range(101)),
        as_url=_choice(fields, "response_format", ("b64_json", "url")) == "url",
        stream=stream,
        partial_images=_number(fields, "partial_images", 0, range(4)),
        quality=fields.get("quality", "auto"),
        background=fields.get("background", "auto"),
    )


def _model(fields: Mapping[str, str], models: Sequence[Model]) -> Model:
    name = fields.get("model", "")
    if not name:
        raise Refused(400, "missing_field", "Name a model.", "model")
    found = next((model for model in models if model.id == name), None)
    if found is None:
        raise Refused(404, "model_not_found", f"The model '{name}' does not exist.", "model")
    return found


def _check_references(model: Model, parts: Parts) -> None:
    given, cap = len(parts.pictures), model.max_reference_images
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
    if re.search(r"\bforbidden\b", prompt, re.IGNORECASE):
        message = "Your request was rejected as a result of our safety system."
        raise Refused(400, "content_policy_violation", message, "prompt")
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


def _flag(fields: Mapping[str, str], name: str) -> bool:
    return _choice(fields, name, ("false", "true", "0", "1")) in ("true", "1")


def _choice(fields: Mapping[str, str], name: str, allowed: Sequence[str]) -> str:
    """The field's value, or the first allowed one where it is not given."""
    value = fields.get(name, allowed[0])
    if value not in allowed:
        raise bad_field(name, f"{name} must be one of {', '.join(allowed)}.")
    return value
