"""Secrets are random, recognisable, and stored as digests."""

from __future__ import annotations

import hashlib

import pytest

from gateway.accounts.credentials import hash_secret, hint_of, new_id, new_secret


def test_a_secret_holds_256_bits_that_a_header_can_carry() -> None:
    secret = new_secret("sk-")
    assert secret.startswith("sk-")
    assert len(secret) == 3 + 43
    assert secret.isascii()
    assert secret.isprintable()
    assert new_secret("sk-") != secret


def test_what_is_stored_is_the_sha256_in_hexadecimal() -> None:
    assert hash_secret("sk-demo") == hashlib.sha256(b"sk-demo").hexdigest()


@pytest.mark.parametrize(
    ("secret", "hint"), [("sk-abcdefghijklmnopqrstuvwxyz", "sk-abcd…wxyz"), ("sk-demo", "sk-…")]
)
def test_a_hint_shows_too_little_to_use(secret: str, hint: str) -> None:
    assert hint_of(secret) == hint


def test_an_id_is_short_and_speaks_of_what_it_is() -> None:
    assert new_id("key_").startswith("key_")
    assert len(new_id("key_")) == 16
