"""The addresses of pictures in pages: each holds for the one session whose page it stands in.

A page checks who may see a result. Its pictures are fetched by addresses with a proof that only
this session's pages contain, so that no address can be guessed, or used by somebody else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from gateway.cache.picture_links import BadLink, PictureId
from gateway.cache.result_store import Stored
from gateway.console.visitor import Visit
from gateway.edits.presentation import pictures_of
from gateway.model.errors import Refusal

FILES, THUMBNAILS = "/console/files", "/console/thumbnails"
NOT_OF_THIS_SESSION = Refusal(
    "permission_denied",
    "This address of a picture is not of a page of this session: reload the page it is from.",
)


@dataclass(frozen=True, slots=True)
class ShownPicture:
    """A picture as a page shows it: where it is fetched, and where it is saved."""

    id: PictureId
    file: str
    download: str


def shown_pictures(stored: Stored, visit: Visit) -> list[ShownPicture]:
    """The pictures of a result that the visitor may see. Slow: it looks through megabytes."""
    found = []
    for picture in pictures_of(stored):
        address = f"{FILES}/{picture}?proof={visit.proof_of(str(picture))}"
        found.append(ShownPicture(picture, address, f"{address}&download=1"))
    return found


def thumbnail_address(fingerprint: str, visit: Visit) -> str:
    """Where the thumbnail of a result that the visitor may see is fetched."""
    return f"{THUMBNAILS}/{fingerprint}?proof={visit.proof_of(f'thumbnail {fingerprint}')}"


def check_thumbnail(fingerprint: str, query: Mapping[str, str], visit: Visit) -> None:
    """Raises `permission_denied` for an address of another session."""
    if not visit.proves(query.get("proof", ""), f"thumbnail {fingerprint}"):
        raise replace(NOT_OF_THIS_SESSION)


def picture_asked(id_text: str, query: Mapping[str, str], visit: Visit) -> PictureId:
    """The picture of an address. Raises `permission_denied`."""
    try:
        if visit.proves(query.get("proof", ""), id_text):
            return PictureId.parse(id_text)
    except BadLink:
        pass  # refused like any other address that is none
    raise replace(NOT_OF_THIS_SESSION)
