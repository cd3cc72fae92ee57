"""The span of an upstream call, in the conventions' words."""

from __future__ import annotations

import pytest

from gateway.model.edit import Edit, Upload
from gateway.model.reservation import Settlement
from gateway.upstream.rules.genai_attributes import facts_of_call, facts_of_settlement

UPLOADS = tuple(Upload("image[]", f"digest-{n}", n, 1, "image/png") for n in range(3))


def edit(n: int = 1) -> Edit:
    fields = (("prompt", "a private prompt"),)
    return Edit(route="edits", model="m", fields=fields, uploads=UPLOADS, n=n)


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("https://api.deepshi.ai/v1", "api.deepshi.ai", 443),
        ("http://upstream/v1", "upstream", 80),
        ("http://[::1]:8081/v1", "::1", 8081),
    ],
)
def test_the_server_is_named_by_host_and_port(url: str, host: str, port: int) -> None:
    facts = facts_of_call(edit(), "deepshi", url)
    assert (facts["server.address"], facts["server.port"]) == (host, port)


def test_a_call_says_what_it_asks_for_but_not_the_prompt() -> None:
    facts = facts_of_call(edit(n=2), "deepshi", "https://api.deepshi.ai/v1")
    assert facts["gen_ai.request.choice.count"] == 2
    assert facts["gateway.reference_images"] == 3
    assert "private" not in str(facts)
    assert facts_of_call(edit(), "deepshi", "http://x")["gen_ai.request.choice.count"] is None


def test_an_unknown_cost_is_left_out_and_what_never_left_says_nothing() -> None:
    assert facts_of_settlement(Settlement(cost_nanos=None))["gateway.cost_usd"] is None
    assert facts_of_settlement(Settlement(cost_nanos=0))["gateway.cost_usd"] == 0
    assert facts_of_settlement(Settlement(cost_nanos=12_345_678))["gateway.cost_usd"] == 0.012345678
    assert facts_of_settlement(None) == {}
