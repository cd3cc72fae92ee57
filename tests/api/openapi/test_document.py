"""`/openapi.json` says what is served: its routes, its refusals, its headers; and is valid."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from openapi_spec_validator import validate

from gateway.api.admin.routes import ROUTES
from gateway.api.openapi.document import document
from gateway.api.openapi.refusals import HEADERS
from gateway.api.routes import PUBLIC_ROUTES
from gateway.model.errors import KINDS
from gateway.settings import Settings, load
from tests.support.serving import Running

ADMINISTERED = load(environment={}, overrides={"admin": {"token": "a-root-token-0123456789"}})
CLOSED = load(environment={}, overrides={"admin": {"token": ""}})
Document = Mapping[str, Any]
OF_NO_OPERATION = {"method_not_allowed"}


def as_served(settings: Settings) -> Document:
    found: Document = json.loads(json.dumps(document(settings)))
    return found


def operations(found: Document) -> Iterator[tuple[str, str, Document]]:
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            yield path, method.upper(), operation


def refused(found: Document, operation: Document) -> Iterator[tuple[str, Document]]:
    """Each refusal of an operation, by its status."""
    for status, response in operation["responses"].items():
        if "$ref" in response:
            name = response["$ref"].removeprefix("#/components/responses/")
            yield status, found["components"]["responses"][name]


@pytest.mark.parametrize("settings", [ADMINISTERED, CLOSED])
def test_it_is_a_valid_document_of_openapi_3_1(settings: Settings) -> None:
    found = as_served(settings)
    validate(found)
    assert found["openapi"].startswith("3.1")
    names = [operation["operationId"] for _, _, operation in operations(found)]
    assert len(set(names)) == len(names)


def test_every_route_of_the_tables_is_described_and_no_other() -> None:
    public = {re.sub(r":\w+}", "}", route) for route in PUBLIC_ROUTES}
    admin = {route.replace(" ", " /admin/v1") for route in ROUTES}
    found = operations(as_served(ADMINISTERED))
    assert {f"{method} {path}" for path, method, _ in found} == public | admin


def test_the_admin_api_is_described_only_where_it_is_switched_on() -> None:
    assert not [path for path in as_served(CLOSED)["paths"] if path.startswith("/admin")]
    assert "admin" not in as_served(CLOSED)["components"]["securitySchemes"]


def test_every_change_over_the_admin_api_takes_a_described_body_with_a_reason() -> None:
    """A statement is a body of its own; its reason is in the query."""
    for path, method, operation in operations(as_served(ADMINISTERED)):
        if path.startswith("/admin") and method in ("POST", "PATCH"):
            content = operation["requestBody"]["content"]
            if "text/csv" in content:
                assert "reason" in {each["name"] for each in operation["parameters"]}
                continue
            body = content["application/json"]["schema"]
            assert "reason" in body["properties"], (method, path)
            assert body["additionalProperties"] is False


def test_every_code_is_described_with_its_status() -> None:
    found = as_served(ADMINISTERED)
    assert {code: row["status"] for code, row in found["x-refusals"].items()} == {
        code: kind.status for code, kind in KINDS.items()
    }
    described: set[str] = set()
    for _, _, operation in operations(found):
        for status, response in refused(found, operation):
            codes = set(response.get("x-codes", ()))
            described |= codes
            for code in codes - {"upstream_refused", "upstream_busy"}:
                assert KINDS[code].status == int(status)
    assert described == KINDS.keys() - OF_NO_OPERATION


def test_every_answer_of_ours_says_its_request_s_id_and_every_header_is_described() -> None:
    found = as_served(ADMINISTERED)
    assert found["components"]["headers"].keys() == HEADERS.keys()
    used: set[str] = set()
    for _, _, operation in operations(found):
        answers = [each for each in operation["responses"].values() if "$ref" not in each]
        for response in [*answers, *(each for _, each in refused(found, operation))]:
            assert "X-Request-Id" in response["headers"]
            used |= response["headers"].keys()
    assert used == HEADERS.keys()


def test_it_is_served_without_a_key_and_is_the_same_each_time(gateway: Running) -> None:
    with gateway.client(None) as client:
        first, again, head = (
            client.get("/openapi.json"),
            client.get("/openapi.json"),
            client.head("/openapi.json"),
        )
        posted = client.post("/openapi.json")
    assert first.status_code == head.status_code == 200
    assert first.headers["content-type"] == "application/json"
    assert first.headers["x-request-id"] != again.headers["x-request-id"]
    assert first.json() == as_served(gateway.settings)
    assert first.content == again.content
    assert head.headers["content-length"] == first.headers["content-length"]
    assert (posted.status_code, posted.json()["error"]["code"]) == (405, "method_not_allowed")


def test_edits_are_described_in_both_forms_with_their_directives_and_streams() -> None:
    edit = as_served(CLOSED)["paths"]["/v1/images/edits"]["post"]
    content = edit["requestBody"]["content"]
    assert content.keys() == {"multipart/form-data", "application/json"}
    assert content["multipart/form-data"]["schema"]["required"] == ["model", "prompt"]
    assert content["application/json"]["schema"]["required"] == ["model", "prompt", "images"]
    assert edit["responses"]["200"]["content"].keys() == {"application/json", "text/event-stream"}
    assert {each["name"] for each in edit["parameters"]} == {
        "X-Gateway-Cache-Control",
        "X-Gateway-Variant",
        "X-Gateway-User",
        "X-Gateway-Dry-Run",
        "Prefer",
        "X-Stainless-Retry-Count",
    }
