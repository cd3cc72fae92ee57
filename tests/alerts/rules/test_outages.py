"""Outages: where edits go meanwhile, and the sentence that says so."""

from __future__ import annotations

import pytest

from gateway.alerts.rules.outages import Outage, facts_of, redirects, sentence
from gateway.upstream.rules.routing import ModelRoute, Target

NOW_MS = 1_800_000_000_000
A, B, C = (Target(upstream, "img", "m") for upstream in "abc")
CEILINGS = {A: 100_000_000, B: 250_000_000, C: 300_000_000}
DOWN = Outage("a", NOW_MS + 7, "upstream_failed")


@pytest.mark.parametrize(
    ("targets", "others_down", "moved"),
    [
        ((A, B, C), "", [(A, B)]),
        ((A, B, C), "b", [(A, C)]),
        ((A, Target("a", "other", "m"), B), "", [(A, B)]),
        ((B, A), "", []),  # is bought at b as before
        ((B, A, C), "b", [(A, C)]),
        ((A,), "", []),
        ((A, B), "b", []),
    ],
)
def test_edits_go_to_the_next_target_that_works(
    targets: tuple[Target, ...], others_down: str, moved: list[tuple[Target, Target]]
) -> None:
    found = redirects([ModelRoute(targets)], "a", others_down, CEILINGS.__getitem__)
    assert [(each.usual.target, each.instead.target) for each in found] == moved


def test_an_outage_says_since_when_where_edits_go_and_at_which_price() -> None:
    moved = redirects([ModelRoute((A, B))], "a", "", CEILINGS.__getitem__)
    assert sentence(DOWN, moved) == (
        "The upstream a is down since 2027-01-15T08:00:00Z (upstream_failed). Edits of m go to "
        "b/img, at most $0.25 a picture ($0.10 at a/img). Edits without another target are refused "
        "until it answers; stored pictures are still served."
    )
    over = Outage("a", NOW_MS + 7, "upstream_failed", NOW_MS + 60_000)
    assert sentence(over, moved) == (
        "The upstream a answers again; it was down from 2027-01-15T08:00:00Z to "
        "2027-01-15T08:01:00Z (upstream_failed). Edits of m go to a/img again, at most $0.10 a "
        "picture ($0.25 at b/img)."
    )
    assert facts_of(over, moved) == {
        "upstream": "a",
        "code": "upstream_failed",
        "since": "2027-01-15T08:00:00.007Z",
        "until": "2027-01-15T08:01:00Z",
        "traffic": [
            {
                "model": "m",
                "usual": "a/img",
                "usual_ceiling_usd": "0.10",
                "instead": "b/img",
                "instead_ceiling_usd": "0.25",
            }
        ],
    }
