"""The text fields of a form with pictures, whatever pieces it arrives in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.console.picture_form import read_picture_form
from gateway.model.errors import Refusal

FILE = b'Content-Disposition: form-data; name="image[]"; filename="a"\r\n\r\n\x00\xff\r\n'


def part(name: str, value: str) -> bytes:
    return f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()


def body_of(*parts: bytes) -> bytes:
    return b"".join(b"--b1\r\n" + each for each in parts) + b"--b1--\r\n"


def read(body: bytes, size: int) -> tuple[dict[str, str], bytes]:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), size):
            yield body[start : start + size]

    async def run() -> tuple[dict[str, str], bytes]:
        form, rest = await read_picture_form(chunks())
        return dict(form.values), b"".join([piece async for piece in rest])

    return asyncio.run(run())


@given(
    st.integers(1, 300),
    st.text(max_size=40).filter(lambda text: "--b1" not in text and "\0" not in text),
)
def test_own_fields_are_read_and_the_rest_is_left_as_it_came(size: int, prompt: str) -> None:
    values = {"csrf": "c", "team": "t", "model": "m", "prompt": prompt}
    parts = [part(name, value) for name, value in values.items()]

    form, rest = read(body_of(*parts, FILE), size)

    assert form == values
    assert rest == body_of(*parts[2:], FILE)


def test_fields_behind_a_file_are_not_the_consoles() -> None:
    form, rest = read(body_of(part("model", "m"), FILE, part("csrf", "c")), 7)

    assert form == {"model": "m"}
    assert rest == body_of(part("model", "m"), FILE, part("csrf", "c"))


@pytest.mark.parametrize(
    "body",
    [b"", b"csrf=1", b"--b1\r\n" + part("csrf", "c"), body_of(part("prompt", "a\0"), FILE)],
)
def test_what_is_no_form_is_refused(body: bytes) -> None:
    with pytest.raises(Refusal, match="no form"):
        read(body, 10)


def test_endless_text_is_refused() -> None:
    with pytest.raises(Refusal, match="at most"):
        read(body_of(part("prompt", "x" * 600_000)), 4096)
