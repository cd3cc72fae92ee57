"""What is said of models: whom they are for."""

from __future__ import annotations

import pytest

from gateway.model.caller import Account, Limits
from gateway.model.errors import Refusal
from gateway.upstream.rules.model_limits import check_model_allowed


def refused(*models: str) -> str:
    key = Account("key:1", "key", "first", Limits(models=frozenset(models)))
    with pytest.raises(Refusal) as caught:
        check_model_allowed("another", [key])
    return caught.value.message


@pytest.mark.parametrize(
    ("count", "ending"),
    [
        (0, "it may use: none."),
        (2, "it may use: m0, m1."),
        (10, "m8, m9."),
        (200, " and 190 more."),
    ],
)
def test_a_refused_model_names_at_most_ten_others(count: int, ending: str) -> None:
    names = [f"m{n}" for n in range(count)]
    message = refused(*names)

    assert ending in message
    assert sum(f" {name}," in message or f" {name}." in message for name in names) <= 10
    assert len(message) < 250
