"""Where a model is bought."""

from __future__ import annotations

import pytest

from gateway.model.errors import Refusal
from gateway.upstream.rules.routing import Listings, ModelRoute, Routing, Target, usable

GPT = ModelRoute((Target("openai", "gpt", "gpt"), Target("azure", "img-prod", "gpt")))
ROUTING = Routing({"gpt": GPT}, {"best": "gpt", "short": "grok"})
LISTINGS: Listings = {"openai": ["gpt", "dall-e"], "azure": ["img-prod"], "xai": ["grok"]}


def bought_at(asked: str, listings: Listings = LISTINGS, routing: Routing = ROUTING) -> list[str]:
    route = routing.route(asked, listings)
    return [str(target) for target in route.targets] if route else []


def test_a_target_is_an_upstream_and_its_own_name_of_the_model() -> None:
    target = Target.parse("router/google/gemini", "gemini")
    assert target == Target("router", "google/gemini", "gemini")
    assert str(target) == "router/google/gemini"


@pytest.mark.parametrize(
    ("asked", "targets"),
    [
        ("gpt", ["openai/gpt", "azure/img-prod"]),
        ("best", ["openai/gpt", "azure/img-prod"]),
        ("dall-e", ["openai/dall-e"]),
        ("grok", ["xai/grok"]),
        ("short", ["xai/grok"]),
        ("nothing", []),
    ],
)
def test_targets_come_first_then_the_first_upstream_that_lists_the_model(
    asked: str, targets: list[str]
) -> None:
    assert bought_at(asked) == targets


def test_of_two_upstreams_that_list_a_model_the_first_serves_it() -> None:
    assert bought_at("m", {"b": ["m"], "a": ["m"]}, Routing()) == ["b/m"]


def test_an_upstream_without_a_catalogue_may_have_what_no_other_lists() -> None:
    assert bought_at("m", {"a": ["other"], "b": None, "c": None}, Routing()) == ["b/m"]
    assert bought_at("m", {"a": None, "b": ["m"]}, Routing()) == ["b/m"]


def test_a_target_that_is_asked_for_by_its_own_name_stands_under_the_same_model() -> None:
    route = ROUTING.route("img-prod", LISTINGS)
    assert route == ModelRoute((Target("azure", "img-prod", "gpt"),))


def test_every_name_can_be_asked_for_once() -> None:
    names = list(ROUTING.names(LISTINGS))
    assert names == ["gpt", "dall-e", "img-prod", "grok", "best", "short"]
    assert list(Routing({}, {"alias": "gone"}).names(LISTINGS)) == [
        "gpt",
        "dall-e",
        "img-prod",
        "grok",
    ]


def test_what_does_not_fit_the_catalogues_is_named() -> None:
    listings = {"openai": ["gpt", "best", "two"], "azure": ["two", "three"], "xai": None}
    assert list(ROUTING.conflicts(listings)) == [
        'two is at openai and azure, and bought at openai: set targets in [models."two"]',
        "best is a model, and an alias of gpt: it is bought as gpt",
        "azure does not list img-prod, a target of gpt",
    ]
    assert not list(ROUTING.conflicts(LISTINGS))


def test_what_a_target_can_not_do_skips_it_and_is_refused_where_none_can() -> None:
    def check(most: int) -> None:
        if most < 4:
            raise Refusal("unsupported_n", f"at most {most}")

    assert usable([1, 4, 2, 8], check) == [4, 8]
    with pytest.raises(Refusal, match="at most 2"):
        usable([2, 1], check)
