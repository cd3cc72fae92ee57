"""Signed links to pictures of stored results and kept answers.

Whoever holds a link may read its picture. A link names the result by its key, an answer by its
request, and both by the digest of the body, so that it never shows another picture that has taken
its place. The signature covers the id, the media type and the expiry. The signing key is that of
the day on which the link expires, so keys rotate by themselves.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs

DAY_SECONDS = 86_400
_DIGEST_CHARS = 32
_KEY = r"v\d{1,3}-[0-9a-f]{64}|req_[0-9a-f]{32}"
_ID = re.compile(rf"({_KEY})\.(\d{{1,5}})\.([0-9a-f]{{32}})\.([a-z0-9]{{1,5}})", re.ASCII)
_EXPIRES = re.compile(r"[1-9]\d{0,11}", re.ASCII)
_MOST_PARAMETERS = 20
Secrets = Mapping[int, bytes]
"""The signing key of each day, counted from 1970."""


class BadLink(ValueError):
    """The link is not one of this gateway's, or is no longer valid; the text says which."""


@dataclass(frozen=True, slots=True)
class PictureId:
    """A picture of a stored result: the result's key and digest, the place in its `data`.

    The key of a kept answer is its request's id. `ending` is that of the picture's kind of file.
    """

    key: str
    place: int
    digest: str
    ending: str

    @classmethod
    def of(cls, key: str, body_digest: str, place: int, ending: str) -> PictureId:
        return cls(key, place, body_digest[:_DIGEST_CHARS], ending)

    @classmethod
    def parse(cls, text: str) -> PictureId:
        """Raises BadLink."""
        found = _ID.fullmatch(text)
        if not found:
            raise BadLink("This is not the address of a picture.")
        return cls(found[1], int(found[2]), found[3], found[4])

    @property
    def is_of_answer(self) -> bool:
        return self.key.startswith("req_")

    def is_of(self, body_digest: str) -> bool:
        """Is the stored result the one that the link was made for?"""
        return body_digest.startswith(self.digest)

    def __str__(self) -> str:
        return f"{self.key}.{self.place}.{self.digest}.{self.ending}"


def query_of(picture: PictureId, media_type: str, expires: int, secrets: Secrets) -> str:
    """The query that makes a link valid until `expires`, in Unix seconds.

    Raises KeyError where the day has no key.
    """
    secret = secrets[expires // DAY_SECONDS]
    return f"expires={expires}&signature={_signature(picture, media_type, expires, secret)}"


def check_query(
    picture: PictureId, media_type: str, query: str, secrets: Secrets, now_seconds: float
) -> int:
    """When the link expires, in Unix seconds. Raises BadLink."""
    try:
        sent = parse_qs(query, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS)
    except ValueError:
        raise BadLink("The link has too many parameters.") from None
    (expires_text, *more), (signature, *others) = (
        sent.get(name) or [""] for name in ("expires", "signature")
    )
    if more or others or not _EXPIRES.fullmatch(expires_text):
        raise BadLink("The link is not complete: use it as it was given, with its whole query.")
    expires = int(expires_text)
    if now_seconds >= expires:
        raise BadLink("The link has expired: ask for the picture again, which gives a new one.")
    secret = secrets.get(expires // DAY_SECONDS)
    right = secret and _signature(picture, media_type, expires, secret)
    if not right or not hmac.compare_digest(signature.encode(), right.encode()):
        raise BadLink("The link's signature is wrong: use it as it was given.")
    return expires


def _signature(picture: PictureId, media_type: str, expires: int, secret: bytes) -> str:
    """No part holds a line end, so that no two links have the same message."""
    message = f"picture\n{picture}\n{media_type}\n{expires}".encode()
    return urlsafe_b64encode(hmac.digest(secret, message, "sha256")).decode().rstrip("=")
