"""What schemathesis is told of this gateway; its command line loads it, in its own process."""

from __future__ import annotations

import base64
import json
from typing import Any

import schemathesis
from schemathesis import Case, CheckContext, GenerationMode, HookContext, Response
from schemathesis.core.parameters import ParameterLocation

from gateway.emulator import SAMPLE_PHOTOGRAPH

PHOTOGRAPH = f"data:image/jpeg;base64,{base64.b64encode(SAMPLE_PHOTOGRAPH.read_bytes()).decode()}"
MODEL = "deepshi-image-1"
REFUSED = (400, 413, 415)
OF_THE_MODEL = ("unsupported_n", "too_many_reference_images")
OF_NO_OPERATION = ("method_not_allowed", "not_found")
"""Where a method or a path was made up."""

seen = {"model": MODEL}
"""The last of each kind that the gateway has told of: requests, teams, keys, tokens."""


def is_meant(case: Case[Any]) -> bool:
    """Is it made to be accepted? Links between operations bring what they need themselves."""
    meta = case.meta
    positive = meta is not None and meta.generation.mode is GenerationMode.POSITIVE
    return positive and meta is not None and meta.phase.name.value != "stateful"


def makes_pictures(case: Case[Any]) -> bool:
    return str(case.operation.path).startswith("/v1/images/")


@schemathesis.hook
def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, Any]) -> None:
    """What is right but for a made-up name or picture gets a real one, and goes all the way."""
    if not is_meant(case):
        return
    if makes_pictures(case):
        _with_pictures(case.body)
    kind = _kind(str(case.operation.path))
    if kind in seen and case.path_parameters:
        (name,) = case.path_parameters
        case.path_parameters[name] = seen[kind]


def _with_pictures(body: Any) -> None:
    if not isinstance(body, dict):
        return
    body["model"] = MODEL
    if not {"image", "image[]", "images"} & body.keys():
        body.setdefault("size", "64x64")  # quick to make
    for name in [name for name in body if not name.isprintable()]:
        del body[name]
    for picture in [*(body.get("images") or []), body.get("mask")]:
        if isinstance(picture, dict):
            picture["image_url"] = PHOTOGRAPH


def _kind(path: str) -> str:
    """What a path's parameter names."""
    kinds = {"models": "model", "requests": "request", "teams": "team", "keys": "key"}
    return next((kinds[part] for part in path.split("/") if part in kinds), "token")


@schemathesis.hook
def after_call(context: HookContext, case: Case[Any], response: Response) -> None:
    if makes_pictures(case):
        seen["request"] = response.headers["x-request-id"][0]
    elif case.method == "POST" and response.status_code == 201:
        made = response.json()
        seen[made["object"]] = made["name"] if made["object"] == "team" else made["id"]


@schemathesis.check
def what_is_right_is_not_refused_by_the_gateway(
    ctx: CheckContext, response: Response, case: Case[Any]
) -> None:
    """The upstream may refuse a picture that fits the description; the gateway may not."""
    if makes_pictures(case) and is_meant(case) and response.status_code in REFUSED:
        of_the_model = response.json()["error"].get("code") in OF_THE_MODEL
        source = response.headers.get("x-gateway-error-source")
        # The description gives no pattern for names inside a nested object.
        nested = isinstance(case.body, dict) and any(
            isinstance(value, dict | list) for value in case.body.values()
        )
        of_a_nested_name = nested and "A field's name holds" in response.text
        assert of_the_model or of_a_nested_name or source == ["upstream"], response.text


@schemathesis.check
def what_is_wrong_is_refused(ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    """In JSON: in a form everything is text, so that what is made to be wrong may be right."""
    body = case.meta.components.get(ParameterLocation.BODY) if case.meta else None
    wrong = body is not None and body.mode is GenerationMode.NEGATIVE
    if makes_pictures(case) and wrong and case.media_type == "application/json":
        assert response.status_code >= 400, response.text[:500]


@schemathesis.check
def refusals_are_those_described(ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    """With their codes, and with the status of the table."""
    if response.headers.get("x-gateway-error-source") != ["gateway"]:
        return
    code = json.loads(response.content)["error"]["code"]
    schema: Any = case.operation.schema.raw_schema
    assert schema["x-refusals"][code]["status"] == response.status_code
    if code in OF_NO_OPERATION:
        return
    described = case.operation.definition.raw["responses"][str(response.status_code)]
    if name := described.get("$ref"):
        described = schema["components"]["responses"][name.rpartition("/")[2]]
    assert code in described["x-codes"]
