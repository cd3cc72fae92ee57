"""What schemathesis is told of this gateway; its command line loads it, in its own process."""

from __future__ import annotations

import base64
from typing import Any

import schemathesis
from schemathesis import Case, CheckContext, GenerationMode, HookContext, Response

from gateway.emulator import SAMPLE_PHOTOGRAPH

PHOTOGRAPH = f"data:image/jpeg;base64,{base64.b64encode(SAMPLE_PHOTOGRAPH.read_bytes()).decode()}"
MODEL = "deepshi-image-1"
REFUSED = (400, 413, 415)
OF_THE_MODEL = ("unsupported_n", "too_many_reference_images")


def is_meant(case: Case[Any]) -> bool:
    """Is it made to be accepted?"""
    return bool(case.meta and case.meta.generation.mode is GenerationMode.POSITIVE)


def makes_pictures(case: Case[Any]) -> bool:
    return str(case.operation.path).startswith("/v1/images/")


@schemathesis.hook
def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, Any]) -> None:
    """What is right but for a made-up model or picture gets real ones, and goes upstream."""
    body: Any = case.body
    if not (makes_pictures(case) and is_meant(case) and isinstance(body, dict)):
        return
    body["model"] = MODEL
    for name in [name for name in body if not name.isprintable()]:
        del body[name]
    for picture in [*(body.get("images") or []), body.get("mask")]:
        if isinstance(picture, dict):
            picture["image_url"] = PHOTOGRAPH


@schemathesis.check
def what_is_right_is_not_refused_by_the_gateway(
    ctx: CheckContext, response: Response, case: Case[Any]
) -> None:
    """The upstream may refuse a picture that fits the description; the gateway may not."""
    if makes_pictures(case) and is_meant(case) and response.status_code in REFUSED:
        of_the_model = response.json()["error"].get("code") in OF_THE_MODEL
        source = response.headers.get("x-gateway-error-source")
        assert of_the_model or source == ["upstream"], response.text


@schemathesis.check
def refusals_are_those_described(ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    """With their codes, and with the status of the table."""
    if response.headers.get("x-gateway-error-source") != ["gateway"]:
        return
    code = response.json()["error"]["code"]
    schema: Any = case.operation.schema.raw_schema
    assert schema["x-refusals"][code]["status"] == response.status_code
    if code in ("method_not_allowed", "not_found"):
        return  # of no operation, where a method or path was made up
    described = case.operation.definition.raw["responses"][str(response.status_code)]
    name = described["$ref"].rpartition("/")[2]
    assert code in schema["components"]["responses"][name]["x-codes"]
