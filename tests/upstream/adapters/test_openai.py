from __future__ import annotations

import json

import pytest

from gateway.model.edit import AdapterFacts, Edit, Route
from gateway.upstream.adapters import OpenAI

ADAPTER = OpenAI(AdapterFacts())


def encoded(model: str, route: Route = "edits", **fields: str) -> bytes:
    given = {"model": model, "prompt": "grey", **fields}
    document = json.dumps(given).encode() if route == "generations" else b""
    edit = Edit(route, model, tuple(given.items()), document=document)
    body = ADAPTER.encode(edit, "b" * 32)
    return b"".join(segment for segment in body.segments if isinstance(segment, bytes))


@pytest.mark.parametrize("route", ["edits", "generations"])
def test_base64_is_asked_for_where_the_model_takes_that(route: Route) -> None:
    assert b"b64_json" in encoded("dall-e-2", route)
    assert b"b64_json" not in encoded("dall-e-2", route, response_format="url")
    assert b"b64_json" not in encoded("deepshi-image-1", route)
    assert b"b64_json" in encoded("deepshi-image-1", route, response_format="b64_json")


@pytest.mark.parametrize("route", ["edits", "generations"])
def test_models_that_always_answer_with_base64_are_not_asked_for_it(route: Route) -> None:
    assert b"response_format" not in encoded("gpt-image-1", route, response_format="b64_json")
    assert b"url" in encoded("gpt-image-1", route, response_format="url")


def test_the_list_gets_an_edit_block_only_where_facts_are_known() -> None:
    items = [{"id": "gpt-image-1"}, {"id": "dall-e-3"}, {"id": "gpt-5"}, {"id": "a", "edit": {}}]
    adapted = {each["id"]: each for each in ADAPTER.to_listing({"data": items})["data"]}
    assert adapted["gpt-image-1"]["edit"] == {"supported": True, "max_reference_images": 16}
    assert adapted["dall-e-3"]["edit"] == {"supported": False}
    assert (adapted["gpt-5"], adapted["a"]) == (items[2], items[3])
