"""Directives of the cache: which header steers, and what of a plain one is ignored."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.caller import Account, Caller, Limits
from gateway.model.errors import Refusal
from gateway.wire.cache_directives import Directives, check_bypass, from_text, parse

STEERING = "x-gateway-cache-control"
WORDS = st.sampled_from(["no-cache", "no-store", "only-if-cached", "max-age=0", "max-age=60"])


def caller(may_bypass: bool | None = None) -> Caller:
    account = Account("team:design", "team", "design", Limits(may_bypass_cache=may_bypass))
    return Caller("key_1", "first", "design", account, account, account)


@given(st.lists(WORDS), st.lists(WORDS), st.booleans())
def test_the_text_of_directives_reads_as_the_same(
    steering: list[str], plain: list[str], obey: bool
) -> None:
    headers = {STEERING: ", ".join(steering), "cache-control": ", ".join(plain)}
    directives = parse(headers, caller(), obey_plain=obey)
    read = from_text(directives.text)

    assert (read.text, read.may_look) == (directives.text, directives.may_look)
    assert read.past_failures is directives.past_failures


@given(st.lists(WORDS), st.booleans())
def test_a_plain_header_is_never_refused_and_never_buys_again_after_a_failure(
    plain: list[str], obey: bool
) -> None:
    headers = {"cache-control": ", ".join(plain), "pragma": "no-cache"}
    directives = parse(headers, caller(may_bypass=False), obey_plain=obey)
    check_bypass(directives, caller(may_bypass=False))

    assert directives.may_look
    assert not directives.past_failures
    assert not parse(headers, caller(), obey_plain=obey).past_failures


@pytest.mark.parametrize(
    ("headers", "ignored"),
    [
        ({"cache-control": "no-cache", "pragma": "no-cache"}, ("no-cache",)),
        ({"cache-control": "max-age=0"}, ("max-age",)),
        ({"cache-control": "No-Cache, max-age=0, x=1"}, ("no-cache", "max-age")),
        ({"pragma": "no-cache"}, ("pragma",)),
        ({"cache-control": "no-store"}, ()),
        ({STEERING: "no-cache"}, ()),
    ],
)
def test_what_would_buy_again_is_ignored(headers: dict[str, str], ignored: tuple[str, ...]) -> None:
    directives = parse(headers, caller())

    assert directives.ignored == ignored
    assert directives.may_look is (STEERING not in headers)
    assert parse(headers, caller(), obey_plain=True).ignored == ()
    assert parse(headers, caller(may_bypass=False), obey_plain=True).ignored == ignored


def test_a_plain_header_is_obeyed_where_it_is_switched_on() -> None:
    for headers in ({"cache-control": "no-cache"}, {"pragma": "no-cache"}):
        assert parse(headers, caller(), obey_plain=True) == Directives(no_cache=True)
    aged = parse({"cache-control": "max-age=7"}, caller(), obey_plain=True)
    assert aged == Directives(max_age_seconds=7)


def test_a_plain_no_store_is_served_and_keeps_nothing() -> None:
    assert parse({"cache-control": "no-store"}, caller()) == Directives(stores=False)


@pytest.mark.parametrize("word", ["no-cahce", "max-age", "max-age=x", "private", "max-age=-1"])
def test_a_directive_that_cannot_be_followed_is_refused_by_name(word: str) -> None:
    with pytest.raises(Refusal, match=r"takes no-cache, no-store") as caught:
        parse({STEERING: word}, caller())

    assert (caught.value.code, caught.value.param) == ("invalid_field", "X-Gateway-Cache-Control")
    assert parse({"cache-control": word}, caller()) == Directives()
