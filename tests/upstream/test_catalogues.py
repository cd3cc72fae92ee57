"""The catalogues of several upstreams together."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

import pytest

from gateway.model.edit import ModelFacts
from gateway.model.errors import Refusal
from gateway.upstream.catalogues import Catalogues
from gateway.upstream.model_catalogue import Catalogue
from gateway.upstream.rules.routing import ModelRoute, Routing, Target

GPT = ModelRoute((Target("openai", "gpt", "gpt"), Target("azure", "img-prod", "gpt")))
EDIT = {"supported": True, "max_reference_images": 4}


class Listed:
    """A catalogue whose upstream lists these models once it is asked."""

    def __init__(self, *models: str) -> None:
        self.models: Sequence[str] = models

        async def fetch() -> bytes:
            data = [{"id": model, "object": "model", "edit": EDIT} for model in self.models]
            return json.dumps({"data": data}).encode()

        async def keep(body: bytes) -> None:
            assert body

        self.catalogue = Catalogue(
            fetch=fetch,
            keep=keep,
            overrides={},
            clock=time.monotonic,
            on_failure=lambda text: pytest.fail(text),
            on_models=lambda _: None,
        )


async def loaded(**upstreams: Listed) -> Catalogues:
    catalogues = Catalogues(
        {name: each.catalogue for name, each in upstreams.items()},
        Routing({"gpt": GPT}, {"best": "gpt"}),
    )
    await catalogues.ensure_loaded()
    return catalogues


async def test_each_model_is_listed_as_its_first_target_s_upstream_lists_it() -> None:
    items = (await loaded(openai=Listed("gpt", "dall-e"), azure=Listed("img-prod"))).items()
    found = {name: (item["id"], item["upstream"], item["edit"]) for name, item in items.items()}
    assert found == {
        "gpt": ("gpt", "openai", EDIT),
        "dall-e": ("dall-e", "openai", EDIT),
        "img-prod": ("img-prod", "azure", EDIT),
        "best": ("best", "openai", EDIT),
    }


async def test_a_model_that_appears_is_found_after_a_refresh() -> None:
    azure = Listed("img-prod")
    catalogues = await loaded(openai=Listed("gpt"), azure=azure)
    azure.models = ["img-prod", "img-new"]
    assert (await catalogues.find("img-new")).targets == (Target("azure", "img-new", "img-new"),)
    with pytest.raises(Refusal, match="There is no model 'img-none'"):
        await catalogues.find("img-none")


async def test_facts_of_a_target_go_by_the_name_that_was_asked_for() -> None:
    catalogues = await loaded(openai=Listed("gpt"), azure=Listed("img-prod"))
    assert catalogues.facts(GPT.targets[1], "best") == ModelFacts("best", True, 4)
