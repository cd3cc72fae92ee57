"""How a request wants its pictures: `response_format`, which changes nothing of what is bought."""

from __future__ import annotations

from enum import Enum

from gateway.cache.picture_links import PictureId, PictureLinks
from gateway.cache.result_store import Stored
from gateway.cache.rules.entry import Entry
from gateway.model.edit import Edit
from gateway.uploads.rules.picture_sniffer import MEDIA_TYPES, OCTETS, look
from gateway.wire.changed_field import with_field
from gateway.wire.pictures import heads_at, with_urls
from gateway.wire.request_fields import value_of

_FIELD = "response_format"
_BASE64, _URL = "b64_json", "url"
_OTHER_ENDING = "bin"


class Presentation(Enum):
    """What the client gets."""

    BASE64 = "base64"
    LINKS = "links"
    """Links of the gateway to the stored pictures."""
    UPSTREAM_URLS = "upstream urls"
    """The upstream's own URLs, because links can't be made; the edit is another one then."""


def presentation_of(edit: Edit, *, linkable: bool) -> Presentation:
    """What is asked for. `linkable`: what the request buys will be stored, and links are on."""
    if value_of(edit.fields, _FIELD) != _URL:
        return Presentation.BASE64
    return Presentation.LINKS if linkable else Presentation.UPSTREAM_URLS


def as_bought(edit: Edit, presentation: Presentation) -> Edit:
    """The edit as it is fingerprinted and bought: links are made of bytes."""
    if presentation is Presentation.LINKS:
        return with_field(edit, _FIELD, _BASE64)
    return edit


def linked(body: bytes, entry: Entry, links: PictureLinks) -> bytes:
    """The answer with links to the pictures of a stored result; without a key, as it is.

    Slow: it copies megabytes.
    """

    def url_of(place: int, head: bytes) -> str:
        kind = look(head)
        media_type, ending = (kind.media_type, kind.ending) if kind else (OCTETS, _OTHER_ENDING)
        return links.url_of(entry, place, media_type, ending)

    try:
        return with_urls(body, url_of)
    except KeyError:  # the state could not be written for hours
        return body


def pictures_of(stored: Stored) -> list[PictureId]:
    """The pictures of a stored result. Slow, as `linked`."""
    kinds = map(look, heads_at(stored.body))
    return [
        PictureId.of(stored.entry.key, stored.entry.body_digest, place, kind.ending)
        for place, kind in enumerate(kinds)
        if kind
    ]


def media_type_of(ending: str) -> str:
    """The media type of a picture by the ending in its link."""
    return MEDIA_TYPES.get(ending, OCTETS)
