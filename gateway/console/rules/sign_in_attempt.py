"""An attempt to sign in at the provider, kept by nobody: all follows from the browser's cookie.

`state` carries the page to go on to and the time, signed with the cookie, a secret of this browser;
nonce and PKCE's verifier are digests of both. So an answer of the provider is of use only in the
browser that asked for it, for some minutes, and not after the cookie was renewed.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from dataclasses import dataclass
from hashlib import sha256

VALID_MS = 10 * 60_000


@dataclass(frozen=True, slots=True)
class SignInAttempt:
    """What is sent to the provider, and checked in its answer."""

    state: str
    path: str
    nonce: str
    verifier: str


def begin_attempt(cookie: str, path: str, now_ms: int) -> SignInAttempt:
    """An attempt of the browser with this cookie, to go on to this page."""
    text = base64.urlsafe_b64encode(json.dumps([now_ms, path]).encode()).decode()
    return _attempt(cookie, text, path)


def resume_attempt(cookie: str, state: str, now_ms: int) -> SignInAttempt | None:
    """The attempt with this `state`; None if this browser has not begun it lately."""
    text = state.partition(".")[0]
    if not hmac.compare_digest(f"{text}.{_digest(cookie, 'state', text)}".encode(), state.encode()):
        return None
    try:
        begun_ms, path = json.loads(base64.urlsafe_b64decode(text))
    except (ValueError, binascii.Error):
        return None
    if not 0 <= now_ms - begun_ms <= VALID_MS:
        return None
    return _attempt(cookie, text, path)


def _attempt(cookie: str, text: str, path: str) -> SignInAttempt:
    return SignInAttempt(
        state=f"{text}.{_digest(cookie, 'state', text)}",
        path=path,
        nonce=_digest(cookie, "nonce", text),
        verifier=_digest(cookie, "verifier", text),
    )


def _digest(cookie: str, purpose: str, text: str) -> str:
    digest = hmac.new(cookie.encode(), f"{purpose} {text}".encode(), sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
