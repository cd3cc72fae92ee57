"""Secrets of keys and admin tokens: made here, kept as digests only, recognised by hints."""

from __future__ import annotations

import hashlib
import secrets
import string

from gateway.accounts.rules.errors import BadValue

KEY_PREFIX = "sk-"
TOKEN_PREFIX = "gwt-"  # noqa: S105 - how a token begins, not one
_ID_LETTERS = string.ascii_lowercase + string.digits
_SHORTEST = 7


def new_secret(prefix: str) -> str:
    """A secret with 256 bits of randomness, safe in a header and a URL."""
    return prefix + secrets.token_urlsafe(32)


def new_id(prefix: str) -> str:
    """A short random name, such as `key_4k9d…`."""
    return prefix + "".join(secrets.choice(_ID_LETTERS) for _ in range(12))


def hash_secret(secret: str) -> str:
    """What is stored and looked up in a secret's place: SHA-256, in hexadecimal.

    A slow hash guards what people choose and others can guess. These secrets are 256 random
    bits, which no number of guesses finds, and every request pays for the hash.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def hint_of(secret: str) -> str:
    """Enough of a secret to recognise it in a listing, too little to use it.

    A short one (a demo's) shows its beginning alone.
    """
    if len(secret) < 20:
        return f"{secret[:3]}…"
    return f"{secret[:7]}…{secret[-4:]}"


def check_given(secret: str) -> str:
    """A secret that the caller chose, fit for a header. Raises BadValue."""
    if len(secret) < _SHORTEST or not secret.isascii() or not secret.isprintable():
        raise BadValue(f"A secret has at least {_SHORTEST} visible ASCII characters.", "secret")
    if " " in secret:
        raise BadValue("A secret has no spaces.", "secret")
    return secret
