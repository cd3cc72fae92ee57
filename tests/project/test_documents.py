"""What `docs/` says of the code is what the code says."""

from __future__ import annotations

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.documents import DOCS, PAGES, metrics_page
from tests.support.exposition import scrape
from tests.support.serving import Running


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_as_the_code_makes_it(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name](), "run `make docs`"


def test_every_metric_that_is_shown_is_on_the_page_with_its_type(gateway: Running) -> None:
    gateway.edit()
    listed = dict(re.findall(r"^\| `(\w+)` \| (\w+)", metrics_page(), re.MULTILINE))
    shown = {
        family.name + ("_total" if family.type == "counter" else ""): family.type
        for family in text_string_to_metric_families(scrape(gateway, after=1))
        if family.name.startswith("gateway_")
    }

    assert len(shown) > 40
    assert shown.items() <= listed.items()
