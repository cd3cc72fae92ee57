"""How edits and generations are described: their fields, headers, answers and refusals."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.api.openapi.refusals import MONEY, OF_ERRORS, RATES, answered, headers
from gateway.api.openapi.schemas import TEXT, Operation, Schema, array, described, ref
from gateway.uploads.rules.upload_limits import UploadLimits
from gateway.wire.events import CONTENT_TYPE
from gateway.wire.request_fields import LONGEST_MODEL, MOST_IMAGES

CODES = (
    "invalid_api_key", "too_many_failures", "model_not_allowed", "bypass_not_allowed",
    "model_not_found", "unsupported_n", "unsupported_field", "missing_field", "duplicate_field",
    "unsupported_image_source", "invalid_field", "invalid_multipart", "invalid_json",
    "body_too_large", "unsupported_media_type", "upload_timeout",
    "insufficient_quota", "end_user_budget", "budget_held", "rate_limit_exceeded",
    "spending_paused", "not_cached",
    "price_unconfirmed", "still_running", "state_unavailable", "storage_full", "shutting_down",
    "sandbox_unavailable",
    "upstream_unreachable", "upstream_timeout", "upstream_failed", "upstream_account",
    "upstream_busy", "upstream_refused",
)  # fmt: skip
EDIT_CODES = (
    *CODES, "edit_not_supported", "too_many_reference_images", "invalid_image", "image_too_large",
)  # fmt: skip

_ANSWERED = (
    "X-Request-Id", "X-Gateway-Sandbox", "Server-Timing", "Cache-Status", "Age", "X-Gateway-Cache",
    *MONEY,
    "X-Gateway-Cost-Kind", "X-Gateway-Cost-Estimated", "X-Gateway-Reference-Images",
    "X-Gateway-Upstream", "X-Gateway-Upstream-Request-Id", *RATES, "Cache-Control",
    "X-Accel-Buffering",
)  # fmt: skip

ERROR_HEADERS = (
    *OF_ERRORS, *MONEY, *RATES, "Server-Timing", "Cache-Status", "Age",
    "X-Gateway-Cost-Kind", "X-Gateway-Cost-Estimated", "X-Gateway-Upstream",
    "X-Gateway-Upstream-Request-Id",
)  # fmt: skip

_WORD = "(no-cache|no-store|only-if-cached|max-age=[0-9]{1,9})"
_DIRECTIVES: list[Schema] = [
    {
        "name": "X-Gateway-Cache-Control",
        "in": "header",
        "schema": {"type": "string", "pattern": f"^({_WORD}(, *{_WORD})*)?$"},
        "description": "`no-cache` buys anew and replaces, `no-store` buys and keeps nothing, "
        "`max-age=SECONDS` takes nothing older, `only-if-cached` buys nothing. Of a plain "
        "Cache-Control only `only-if-cached` is obeyed, and with `no-store` nothing is stored.",
    },
    {
        "name": "X-Gateway-Variant",
        "in": "header",
        "schema": {"type": "string", "pattern": r"^[A-Za-z0-9._-]{0,64}$"},
        "description": "Another picture of the same edit, stored beside the first.",
    },
    {
        "name": "X-Gateway-User",
        "in": "header",
        "schema": TEXT,
        "description": "The end user, before the fields `safety_identifier` and `user`.",
    },
    {
        "name": "X-Gateway-Dry-Run",
        "in": "header",
        "schema": {"type": "string", "pattern": "^(true|false)?$"},
        "description": "`true` answers with a quote, and buys nothing.",
    },
    {
        "name": "Prefer",
        "in": "header",
        "schema": TEXT,
        "description": "`respond-async` answers 202 at once, unless the picture is stored; the "
        "answer is at `/v1/requests/{id}/result` for 24 hours. Not with no-store or links.",
    },
    {
        "name": "X-Stainless-Retry-Count",
        "in": "header",
        "schema": TEXT,
        "description": "What SDKs send: above 0, the request joins the attempt before it.",
    },
]

_FIELD_NAME: Schema = {"pattern": r'^[^"\\\x00-\x1f\x7f]+$'}
_PASSED_ON = (
    "Every other field is passed on to the upstream as it is, and is part of what makes the edit "
    "another one, unless it can't change the picture."
)


_ACCEPTED = answered(
    "It is running, without this client.",
    ref("Accepted"),
    ("X-Request-Id", "Location", "Retry-After", "Preference-Applied", "Cache-Control"),
)


def describe_edit(bounds: UploadLimits) -> Operation:
    return _description(
        {
            "multipart/form-data": {"schema": _edit_form(bounds), "encoding": _as_pictures(bounds)},
            "application/json": {"schema": _edit_document(bounds)},
        }
    )


def describe_generation(bounds: UploadLimits) -> Operation:
    return _description(
        {
            "application/json": {"schema": _document(bounds)},
            "multipart/form-data": {"schema": _form(bounds)},
        }
    )


def describe_result(_: UploadLimits) -> Operation:
    """The answer once it is there; 202 until then."""
    pictures = answered("The answer, with the headers of its time.", ref("Images"), _ANSWERED)
    return {"responses": {"200": pictures, "202": _ACCEPTED}}


def _description(content: Mapping[str, object]) -> Operation:
    return {
        "parameters": _DIRECTIVES,
        "requestBody": {"required": True, "content": content},
        "responses": {
            "200": {
                "description": "The pictures; with `stream=true` as events, the last of which "
                "says what it cost. A stream that fails ends in an error event and breaks.",
                "headers": headers(_ANSWERED),
                "content": {
                    "application/json": {"schema": {"anyOf": [ref("Images"), ref("Quote")]}},
                    CONTENT_TYPE: {"schema": ref("Event")},
                },
            },
            "202": _ACCEPTED,
        },
    }


def _fields(bounds: UploadLimits) -> Mapping[str, Schema]:
    """What both routes know, and may be left out unless it is required."""
    text: Schema = {"type": "string", "minLength": 1}
    return {
        "model": {**text, "maxLength": LONGEST_MODEL, "examples": ["deepshi-image-1"]},
        "prompt": {**text, "maxLength": bounds.max_field_bytes // 4, "examples": ["make it grey"]},
        "n": {"type": "integer", "minimum": 1, "maximum": MOST_IMAGES},
        "stream": {"type": "boolean"},
        "partial_images": {"type": "integer", "minimum": 0, "maximum": 3},
    }


def _object(bounds: UploadLimits, properties: Mapping[str, Schema], others: Schema) -> Schema:
    return {
        "type": "object",
        "required": list(_REQUIRED),
        "properties": dict(properties),
        "propertyNames": _FIELD_NAME,
        "maxProperties": bounds.max_fields,
        "additionalProperties": described(others, _PASSED_ON),
    }


def _form(bounds: UploadLimits, more: Mapping[str, Schema] | None = None) -> Schema:
    return _object(bounds, {**_fields(bounds), **(more or {})}, TEXT)


def _document(bounds: UploadLimits, more: Mapping[str, Schema] | None = None) -> Schema:
    """In JSON, null and empty text count as absent, and known values may be given as text."""
    known = dict(_fields(bounds))
    for name, text in _AS_TEXT.items():
        known[name] = {"anyOf": [known[name], text, {"type": "null"}]}
    return _object(bounds, {**known, **(more or {})}, {})


_AS_TEXT: Mapping[str, Schema] = {
    "n": {"type": "string", "pattern": "^([1-9][0-9]{0,2}|1000)?$"},
    "stream": {"enum": ["true", "false", "1", "0", "", 1, 0]},
    "partial_images": {"type": "string", "pattern": "^[0-3]?$"},
}


def _edit_form(bounds: UploadLimits) -> Schema:
    picture: Schema = {"type": "string", "format": "binary"}
    form = _form(
        bounds,
        {
            "image": described(
                picture, f"A reference image: the bytes of a {bounds.formats_text}."
            ),
            "image[]": described({**array(picture), "minItems": 1}, "Several, in their order."),
            "mask": described(picture, "A PNG whose transparent parts are edited."),
        },
    )
    return {**form, "anyOf": [{"required": ["image"]}, {"required": ["image[]"]}]}


def _edit_document(bounds: UploadLimits) -> Schema:
    formats = "|".join(bounds.picture_formats)
    url: Schema = {
        "type": "string",
        "pattern": f"^data:image/({formats});base64,[A-Za-z0-9+/]+={{0,2}}$",
        "maxLength": bounds.max_data_url_chars,
    }
    picture: Schema = {
        "type": "object",
        "required": ["image_url"],
        "properties": {"image_url": url},
    }
    prompt = {**_fields(bounds)["prompt"], "type": ["string", "number", "boolean"]}
    pictures = {"images": {**array(picture), "minItems": 1}, "mask": picture}
    document = _document(bounds, {"prompt": prompt, **pictures})
    return {**document, "required": [*_REQUIRED, "images"]}


_REQUIRED = ("model", "prompt")


def _as_pictures(bounds: UploadLimits) -> Schema:
    media_types = ", ".join(f"image/{name}" for name in bounds.picture_formats)
    return {name: {"contentType": media_types} for name in ("image", "image[]", "mask")}
