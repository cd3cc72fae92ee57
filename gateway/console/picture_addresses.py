"""The addresses of pictures in pages: each holds for the one session whose page it stands in.

A page checks who may see a result. Its pictures are fetched by addresses with a proof that only
this session's pages contain, so that no address can be guessed, or used by somebody else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.cache.picture_links import BadLink, PictureId
from gateway.cache.result_store import Stored
from gateway.console.visitor import Visit
from gateway.edits.presentation import pictures_of
from gateway.model.errors import Refusal

FILES = "/console/files"


@dataclass(frozen=True, slots=True)
class ShownPicture:
    """A picture as a page shows it: where it is fetched, and where it is saved."""

    file: str
    download: str


def shown_pictures(stored: Stored, visit: Visit) -> list[ShownPicture]:
    """The pictures of a result that the visitor may see. Slow: it looks through megabytes."""
    addresses = [
        f"{FILES}/{picture}?proof={visit.proof_of(str(picture))}" for picture in pictures_of(stored)
    ]
    return [ShownPicture(each, f"{each}&download=1") for each in addresses]


def picture_asked(id_text: str, query: Mapping[str, str], visit: Visit) -> PictureId:
    """The picture of an address. Raises `permission_denied`."""
    try:
        if visit.proves(query.get("proof", ""), id_text):
            return PictureId.parse(id_text)
    except BadLink:
        pass
    raise Refusal(
        "permission_denied",
        "This address of a picture is not of a page of this session: reload the page it is from.",
    )
