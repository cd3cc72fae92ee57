"""Data URLs that arrive in pieces."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.errors import Refusal
from gateway.uploads.rules.data_url_decoder import DataUrlDecoder
from gateway.uploads.rules.upload_limits import UploadLimits


def decoded(
    text: bytes, sizes: list[int] | None = None, limits: UploadLimits | None = None
) -> bytes:
    url, out, position, turn = DataUrlDecoder("it", limits or UploadLimits()), b"", 0, 0
    sizes = sizes or [1_000_000]
    while position < len(text):
        size = sizes[turn % len(sizes)]
        out += url.feed(text[position : position + size])
        position, turn = position + size, turn + 1
    return out + url.finish()


@given(
    st.binary(max_size=200),
    st.lists(st.integers(1, 20), min_size=1, max_size=4),
    st.sampled_from(["as it is", "slashes", "codes", "lines", "no padding"]),
)
def test_every_way_of_writing_it_gives_the_same_bytes(
    content: bytes, sizes: list[int], way: str
) -> None:
    packed = base64.b64encode(content).decode()
    url = "data:image/png;base64," + packed
    written = {
        "as it is": url,
        "slashes": url.replace("/", "\\/"),
        "codes": url.replace("+", "\\u002B").replace("/", "\\u002f").replace("A", "\\u0041"),
        "lines": json.dumps(
            url[:22] + "\r\n".join(packed[i : i + 7] for i in range(0, len(packed), 7))
        )[1:-1],
        "no padding": url.rstrip("="),
    }[way]
    assert decoded(written.encode(), sizes) == content


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"data:image/png;base64",
        b"data:image/png,abcd",
        b"http://example.test/x,abcd",
        b"data:image/png;base64,a",
        b"data:image/png;base64,ab!=",
        b"data:image/png;base64,YQ==YQ==",
        b"data:image/png;base64,====",
        b"data:image/png;base64,\xc3\xa4bcd",
        b"data:image/png;base64,abc\\",
        b"data:image/png;base64,abc\\u00",
        b"data:image/png;base64,abc\\x41",
        b"data:image/png;base64,\\u00e4bcd",
        b"data:" + b"x" * 300,
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1_000])
def test_what_is_no_base64_data_url_is_refused(text: bytes, size: int) -> None:
    with pytest.raises(Refusal, match="invalid_image"):
        decoded(text, [size])


def test_one_longer_than_the_bound_is_refused() -> None:
    limits = UploadLimits(max_data_url_chars=40)
    assert decoded(b"data:image/png;base64," + b"A" * 16, [5], limits) == bytes(12)
    with pytest.raises(Refusal, match="image_too_large"):
        decoded(b"data:image/png;base64," + b"A" * 20, [5], limits)
