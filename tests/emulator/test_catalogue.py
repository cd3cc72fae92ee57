from __future__ import annotations

from tests.emulator.calling import Caller, error_of


def test_the_catalogue_has_the_documented_edit_blocks(caller: Caller) -> None:
    listing = caller.http.get("/v1/models").json()
    assert listing["object"] == "list"
    assert {item["id"]: item["edit"] for item in listing["data"]} == {
        "deepshi-image-1": {"supported": True, "max_reference_images": 5},
        "deepshi-banana-pro": {"supported": False},
        "deepshi-solo-1": {"supported": True, "max_reference_images": 1},
        "deepshi-collage-14": {"supported": True, "max_reference_images": 14},
        "deepshi-multi-1": {"supported": True, "max_reference_images": 3},
    }


def test_items_are_shaped_as_openai_shapes_them(caller: Caller) -> None:
    for item in caller.http.get("/v1/models").json()["data"]:
        assert item["object"] == "model"
        assert isinstance(item["created"], int)
        assert item["owned_by"] == "deepshi"
        assert caller.http.get(f"/v1/models/{item['id']}").json() == item


def test_an_unknown_model_is_not_found(caller: Caller) -> None:
    assert error_of(caller.http.get("/v1/models/gpt-image-9")) == (404, "model_not_found")


def test_looks_at_the_catalogue_are_counted_apart_and_not_billed(caller: Caller) -> None:
    caller.http.get("/v1/models")
    caller.http.get("/v1/models/deepshi-solo-1")
    stats = caller.stats()
    assert (stats["models_calls"], stats["calls"], stats["billed_calls"]) == (2, 0, 0)


def test_the_catalogue_fails_where_told_to(caller: Caller) -> None:
    caller.order(always={"models_status": 503, "retry_after": 4})
    answer = caller.http.get("/v1/models")
    assert error_of(answer) == (503, "emulated_failure")
    assert answer.headers["retry-after"] == "4"
    assert caller.edit().status_code == 200
