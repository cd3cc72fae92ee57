"""Is a refusal one that `/openapi.json` describes? Asked of whatever tests get to see."""

from __future__ import annotations

import functools
import re
from typing import Any

import httpx

from gateway.api.openapi.document import document
from gateway.settings import load

OF_NO_OPERATION = ("method_not_allowed", "not_found")


@functools.cache
def description() -> Any:
    """With the admin API, where there may be one."""
    return document(load(environment={}, overrides={"admin": {"token": "described-0123456789"}}))


@functools.cache
def operation_of(method: str, path: str) -> Any:
    """The operation that answers there; None where there is none."""
    paths = description()["paths"]
    for template in sorted(paths, key=len, reverse=True):  # a name may hold slashes
        methods = paths[template]
        if re.fullmatch(re.sub(r"\{\w+}", ".+", template), path) and method.lower() in methods:
            return methods[method.lower()]
    return None


def check_described(answer: httpx.Response) -> None:
    """Fails for a refusal of the gateway's that its operation does not have.

    What comes of a fault is left to the test that meets it, and the upstream's is its own.
    """
    if answer.headers.get("x-gateway-error-source") != "gateway":
        return
    method, path = answer.request.method, answer.request.url.path
    operation = operation_of("GET" if method == "HEAD" else method, path)
    answer.read()
    if operation is None or not answer.content:
        return
    code = answer.json()["error"]["code"]
    if code in OF_NO_OPERATION and answer.status_code in (404, 405):
        return
    told = operation["responses"].get(str(answer.status_code), {})
    if name := told.get("$ref"):
        told = description()["components"]["responses"][name.rpartition("/")[2]]
    what = f"{method} {path} answered {answer.status_code} {code}, which is not described"
    assert code in told.get("x-codes", ()), what
