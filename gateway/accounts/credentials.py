"""Secrets of keys and admin tokens: generated, stored as digests only, shown as hints."""

from __future__ import annotations

import hashlib
import secrets
import string

from gateway.accounts.rules.errors import BadValue

KEY_PREFIX = "sk-"
TOKEN_PREFIX = "gwt-"  # noqa: S105 - a prefix, not a secret
_ID_LETTERS = string.ascii_lowercase + string.digits
_SHORTEST = 7


def new_secret(prefix: str) -> str:
    """A secret with 256 bits of randomness, safe in a header and a URL."""
    return prefix + secrets.token_urlsafe(32)


def new_id(prefix: str) -> str:
    """A short random name, such as `key_4k9d…`."""
    return prefix + "".join(secrets.choice(_ID_LETTERS) for _ in range(12))


def hash_secret(secret: str) -> str:
    """The stored form of a secret: SHA-256, in hexadecimal.

    A slow hash protects passwords that can be guessed. These secrets are 256 random bits, and
    every request computes the hash.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def hint_of(secret: str) -> str:
    """The first and last characters of a secret, for listings; of a short one, the first."""
    if len(secret) < 20:
        return f"{secret[:3]}…"
    return f"{secret[:7]}…{secret[-4:]}"


def check_secret(secret: str) -> str:
    """Check that a given secret is valid in a header. Raises BadValue."""
    if len(secret) < _SHORTEST or not secret.isascii() or not secret.isprintable():
        raise BadValue(f"A secret has at least {_SHORTEST} visible ASCII characters.", "secret")
    if " " in secret:
        raise BadValue("A secret has no spaces.", "secret")
    return secret
