"""Who the end user of a request is, and under which name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.accounts.rules.end_users import Pseudonyms, check_named, sent_name
from gateway.model.caller import Limits
from gateway.model.errors import Refusal
from tests.support.funds import CENT, caller

HEADER = {"x-gateway-user": " ada "}
BOTH = (("user", "bob"), ("safety_identifier", "eve"))


@pytest.mark.parametrize(
    ("headers", "fields", "name"),
    [
        (HEADER, BOTH, "ada"),
        ({}, BOTH, "eve"),
        ({"x-gateway-user": "  "}, (("user", "bob"),), "bob"),
        ({}, (("user", ""),), ""),
        ({}, (), ""),
    ],
)
def test_the_header_comes_before_safety_identifier_and_user(
    headers: dict[str, str], fields: tuple[tuple[str, str], ...], name: str
) -> None:
    assert sent_name(headers, fields) == name


def test_a_person_has_one_pseudonym_which_another_secret_changes() -> None:
    kept = Pseudonyms("hashed", b"secret").of("ada@example.org")
    assert kept.startswith("user_")
    assert "ada" not in kept
    assert kept == Pseudonyms("hashed", b"secret").of("ada@example.org")
    assert kept != Pseudonyms("hashed", b"another").of("ada@example.org")
    assert kept != Pseudonyms("hashed", b"secret").of("bob@example.org")


@pytest.mark.parametrize("name", ["(others)", "(forgotten)", "x" * 129, "a\nb", "\ud800"])
def test_a_name_that_cannot_be_shown_is_hashed_even_as_sent(name: str) -> None:
    assert Pseudonyms("as-sent").of("ada") == "ada"
    assert Pseudonyms("as-sent").of(name).startswith("user_")


def test_off_keeps_nobody() -> None:
    assert Pseudonyms("off").of("ada") == ""


@pytest.mark.parametrize(
    "limits", [Limits(end_user_budget_nanos=CENT), Limits(end_user_images_per_day=0)]
)
def test_a_request_without_a_user_is_refused_where_users_have_limits(limits: Limits) -> None:
    anybody = caller()
    check_named(anybody)
    limited = replace(anybody, key_account=replace(anybody.key_account, limits=limits))
    check_named(replace(limited, end_user="ada"))
    with pytest.raises(Refusal) as refused:
        check_named(limited)
    assert (refused.value.code, refused.value.param) == ("missing_field", "user")
