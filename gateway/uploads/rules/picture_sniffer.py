"""The kind of a file by its first bytes, and the size of a picture by its header.

Nothing is decoded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

HEAD_BYTES = 64
"""The number of first bytes that `look` needs."""

OCTETS = "application/octet-stream"
PictureFormat = Literal["png", "jpeg", "webp", "gif", "bmp", "avif", "heic"]
"""A format that an upstream may accept; `dimensions` reads each of them."""

_MOST_STRAY_BYTES = 1 << 20
_JPEG_BLOCK_BYTES = 4_096
_JPEG_MARKER = re.compile(rb"\xff([^\x00\xff])", re.DOTALL)
_NO_FRAME = frozenset({0xC4, 0xC8, 0xCC})
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_NO_MORE = frozenset({0xD8, 0xD9, 0xDA})
"""Markers that can't precede a frame header: another start, the end, a scan."""
_HEIF_PROPERTY_BYTES = 65_536

Read = Callable[[int, int], bytes]
"""`read(offset, size)` gives at most `size` bytes of a file."""


@dataclass(slots=True)
class SegmentBudget:
    """How many segments of JPEGs may still be walked; one for all files of a request."""

    left: int = 8_192


@dataclass(frozen=True, slots=True)
class SniffedPicture:
    """A kind of file: its name in a sentence, its media type and its ending."""

    name: str
    media_type: str
    ending: str


_MAGIC: tuple[tuple[bytes, SniffedPicture], ...] = (
    (b"\x89PNG\r\n\x1a\n", SniffedPicture("a PNG", "image/png", "png")),
    (b"\xff\xd8\xff", SniffedPicture("a JPEG", "image/jpeg", "jpg")),
    (b"GIF87a", SniffedPicture("a GIF", "image/gif", "gif")),
    (b"GIF89a", SniffedPicture("a GIF", "image/gif", "gif")),
    (b"II*\x00", SniffedPicture("a TIFF", "image/tiff", "tiff")),
    (b"MM\x00*", SniffedPicture("a TIFF", "image/tiff", "tiff")),
    (b"8BPS", SniffedPicture("a Photoshop file", "image/vnd.adobe.photoshop", "psd")),
    (b"\xff\x0a", SniffedPicture("a JPEG XL", "image/jxl", "jxl")),
    (b"\x00\x00\x00\x0cJXL ", SniffedPicture("a JPEG XL", "image/jxl", "jxl")),
    (b"\x00\x00\x01\x00", SniffedPicture("an icon", "image/x-icon", "ico")),
    (b"%PDF-", SniffedPicture("a PDF", "application/pdf", "pdf")),
    (b"PK\x03\x04", SniffedPicture("a ZIP archive", "application/zip", "zip")),
    (b"\x1f\x8b", SniffedPicture("gzip data", "application/gzip", "gz")),
)

_BRANDS: tuple[tuple[tuple[bytes, ...], SniffedPicture], ...] = (
    ((b"avif", b"avis"), SniffedPicture("an AVIF", "image/avif", "avif")),
    ((b"heic", b"heix", b"heim", b"hevc", b"mif1"), SniffedPicture("a HEIC", "image/heic", "heic")),
    ((b"",), SniffedPicture("a video", "video/mp4", "mp4")),
)

_BMP = SniffedPicture("a BMP", "image/bmp", "bmp")
_WEBP = SniffedPicture("a WebP", "image/webp", "webp")
_SVG = SniffedPicture("an SVG", "image/svg+xml", "svg")
_HTML = SniffedPicture("an HTML page", "text/html", "html")
_JSON = SniffedPicture("JSON", "application/json", "json")
_TEXT = SniffedPicture("text", "text/plain", "txt")
_SNIFFED = (*(kind for _, kind in (*_MAGIC, *_BRANDS)), _BMP, _WEBP, _SVG)
MEDIA_TYPES: Mapping[str, str] = {kind.ending: kind.media_type for kind in _SNIFFED}
"""The media type of each ending."""


def look(head: bytes) -> SniffedPicture | None:
    """The kind of a file that begins with `head`: 64 bytes, or the whole file."""
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return _WEBP
    if head.startswith(b"BM") and head[6:10] == bytes(4):
        return _BMP
    if head[4:8] == b"ftyp":
        return next(kind for brands, kind in _BRANDS if head[8:12].startswith(brands))
    return _look_of_text(head)


def is_picture(head: bytes) -> bool:
    """Does a file that begins with `head` look like a picture, or a moving one?"""
    kind = look(head)
    return kind is not None and kind.media_type.startswith(("image/", "video/"))


def _look_of_text(head: bytes) -> SniffedPicture | None:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith((b"<svg", b"<?xml")):
        return _SVG
    if start.startswith((b"<!doctype html", b"<html")):
        return _HTML
    if start.startswith((b"{", b"[{")):
        return _JSON
    printable = bytes(range(0x20, 0x7F)) + b"\t\r\n"
    return _TEXT if head and not head.translate(None, printable) else None


def dimensions(media_type: str, read: Read, budget: SegmentBudget) -> tuple[int, int] | None:
    """Width and height in pixels of a picture, or None if its header does not state them."""
    if media_type == "image/png":
        head = read(12, 12)
        found = head[:4] == b"IHDR" and len(head) == 12
        return (_big(head[4:8]), _big(head[8:12])) if found else None
    if media_type == "image/webp":
        return _webp_dimensions(read(12, 18))
    if media_type == "image/jpeg":
        return _jpeg_dimensions(read, budget)
    if media_type == "image/gif":
        head = read(6, 4)
        return _little(head[:2]), _little(head[2:])
    if media_type == "image/bmp":
        head = read(14, 12)
        if head[:4] == b"\x0c\x00\x00\x00":  # the oldest header has sides of two bytes
            return _little(head[4:6]), _little(head[6:8])
        return _signed(head[4:8]), _signed(head[8:])
    if media_type in ("image/avif", "image/heic"):
        return _heif_dimensions(read(0, _HEIF_PROPERTY_BYTES))
    return None


def _big(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _signed(data: bytes) -> int:
    """The height of a BMP is negative if its rows go downwards."""
    return abs(int.from_bytes(data, "little", signed=True))


def _heif_dimensions(head: bytes) -> tuple[int, int] | None:
    """The largest of the sizes (`ispe`): of the picture, its tiles and its thumbnail."""
    starts = (found.end() + 4 for found in re.finditer(b"ispe", head))
    sizes = ((_big(head[at : at + 4]), _big(head[at + 4 : at + 8])) for at in starts)
    return max(sizes, key=lambda size: size[0] * size[1], default=None)


def _webp_dimensions(head: bytes) -> tuple[int, int] | None:
    """`head` begins with the first chunk's four-letter name."""
    if len(head) < 18:
        return None
    if head[:4] == b"VP8X":
        return _little(head[12:15]) + 1, _little(head[15:18]) + 1
    if head[:4] == b"VP8L":
        bits = _little(head[9:13])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if head[:4] == b"VP8 ":
        return _little(head[14:16]) & 0x3FFF, _little(head[16:18]) & 0x3FFF
    return None


def _jpeg_dimensions(read: Read, budget: SegmentBudget) -> tuple[int, int] | None:
    """Walk the segments to the first frame header; stray bytes between them are skipped.

    Decoders skip them in the same way, so that they find the same frame header. None if there
    are too many segments or stray bytes.
    """
    block, start, at, stray = b"", 0, 2, 0
    while budget.left > 0:
        budget.left -= 1
        found = _JPEG_MARKER.search(block, at - start)
        if not found or found.end() + 7 > len(block):
            next_start = start + found.end() - 2 if found else max(at, start + len(block) - 1)
            stray, at, start = stray + next_start - at, next_start, next_start
            block = read(start, _JPEG_BLOCK_BYTES)
            if len(block) < 9 or stray > _MOST_STRAY_BYTES:
                return None
            continue
        kind, behind = found[1][0], block[found.end() : found.end() + 7]
        at = start + found.end()
        if 0xC0 <= kind <= 0xCF and kind not in _NO_FRAME:
            return _big(behind[5:]), _big(behind[3:5])
        if kind in _NO_MORE:
            return None
        at += 0 if kind in _ALONE else max(2, _big(behind[:2]))
    return None
