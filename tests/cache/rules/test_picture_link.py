"""Links: what the signature covers, until when it holds, and by which key."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cache.rules.picture_link import (
    DAY_SECONDS,
    BadLink,
    PictureId,
    check_query,
    query_of,
)

PICTURE = PictureId.of(f"v2-{'ab' * 32}", "cd" * 32, 3, "png")
TYPE = "image/png"
NOW = 20_000 * DAY_SECONDS + 100
EXPIRES = NOW + 3_600
SECRETS = {20_000: b"a" * 32, 20_001: b"b" * 32}
GOOD = query_of(PICTURE, TYPE, EXPIRES, SECRETS)


def test_an_id_is_read_as_it_was_written() -> None:
    assert PictureId.parse(str(PICTURE)) == PICTURE
    assert PICTURE.is_of("cd" * 32)
    assert not PICTURE.is_of("ce" * 32)
    assert not PICTURE.is_of_answer
    answer = PictureId.of(f"req_{'ab' * 16}", "cd" * 32, 0, "webp")
    assert PictureId.parse(str(answer)) == answer
    assert answer.is_of_answer


@pytest.mark.parametrize(
    "text",
    ["", "x", "../../etc/passwd", f"req_{'ab' * 32}.0.{'cd' * 16}.png",
     f"v2-{'ab' * 31}.0.{'cd' * 16}.png", f"{PICTURE}\n",
     f"{PICTURE} ", str(PICTURE).upper(), str(PICTURE).replace(".3.", ".-3."),
     str(PICTURE).replace(".3.", ".\u0663."), str(PICTURE).replace(".png", "")],
)  # fmt: skip
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(BadLink, match="not the address"):
        PictureId.parse(text)


def test_a_link_holds_until_its_second_and_no_longer() -> None:
    assert check_query(PICTURE, TYPE, GOOD, SECRETS, NOW) == EXPIRES
    assert check_query(PICTURE, TYPE, GOOD, SECRETS, EXPIRES - 0.001) == EXPIRES
    with pytest.raises(BadLink, match="expired"):
        check_query(PICTURE, TYPE, GOOD, SECRETS, EXPIRES)


@pytest.mark.parametrize(
    "change",
    [{"place": 4}, {"digest": "ce" * 16}, {"ending": "svg"}, {"key": f"v2-{'ac' * 32}"}],
)
def test_the_signature_covers_every_part_of_the_id(change: dict[str, Any]) -> None:
    with pytest.raises(BadLink, match="signature is wrong"):
        check_query(replace(PICTURE, **change), TYPE, GOOD, SECRETS, NOW)


def test_the_signature_covers_type_and_expiry() -> None:
    later = GOOD.replace(str(EXPIRES), str(EXPIRES + 1))
    for media_type, query in (("text/html", GOOD), (TYPE, later)):
        with pytest.raises(BadLink, match="signature is wrong"):
            check_query(PICTURE, media_type, query, SECRETS, NOW)


def test_the_key_is_that_of_the_day_on_which_the_link_expires() -> None:
    tomorrow = query_of(PICTURE, TYPE, NOW + DAY_SECONDS, SECRETS)
    assert check_query(PICTURE, TYPE, tomorrow, {20_001: SECRETS[20_001]}, NOW)
    for secrets in ({}, {20_000: SECRETS[20_001]}, {20_001: SECRETS[20_000]}):
        with pytest.raises(BadLink, match="signature is wrong"):
            check_query(PICTURE, TYPE, GOOD, secrets, NOW)
    with pytest.raises(KeyError):
        query_of(PICTURE, TYPE, NOW + 5 * DAY_SECONDS, SECRETS)


@pytest.mark.parametrize(
    "query",
    ["", "expires=", "signature=x", GOOD.partition("&")[0], f"{GOOD}&expires={EXPIRES}",
     f"{GOOD}&signature=x", f"{GOOD}&signature=", GOOD.replace("expires=", "expires=+"),
     GOOD.replace("expires=", "expires=0"), GOOD.replace("expires=", "expires=%00"),
     "expires=9" + "9" * 5_000, GOOD + "&a=b" * 30, f"expires={EXPIRES}&signature=",
     f"expires={EXPIRES}&signature=\u00e9", f"expires={EXPIRES}&signature=%ff",
     GOOD.replace("signature", "Signature")],
)  # fmt: skip
def test_an_incomplete_or_odd_query_is_refused(query: str) -> None:
    with pytest.raises(BadLink):
        check_query(PICTURE, TYPE, query, SECRETS, NOW)


def test_parameters_that_others_add_do_no_harm() -> None:
    assert check_query(PICTURE, TYPE, f"utm_source=chat&{GOOD}", SECRETS, NOW) == EXPIRES


@given(st.binary(max_size=60))
def test_no_other_signature_is_right(signature: bytes) -> None:
    query = f"expires={EXPIRES}&signature={signature.decode('latin-1')}"
    if query == GOOD:
        return
    with pytest.raises(BadLink):
        check_query(PICTURE, TYPE, query, SECRETS, NOW)
