"""What a file looks like by its first bytes, and how large a picture says it is.

Nothing is decoded: only magic bytes and header fields are read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

HEAD_BYTES = 64
"""As many first bytes as `look` ever needs."""

OCTETS = "application/octet-stream"
ACCEPTED = frozenset({"image/png", "image/jpeg", "image/webp"})
"""What a reference image or a mask may be."""

_MOST_JPEG_SEGMENTS = 1_000
_NO_FRAME = frozenset({0xC4, 0xC8, 0xCC})
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_NO_MORE = frozenset({0x00, 0xD8, 0xD9, 0xDA})
"""What can't stand before a frame header: no marker, another start, the end, a scan."""

Read = Callable[[int, int], bytes]
"""`read(offset, size)` gives at most `size` bytes of a file."""


@dataclass(frozen=True, slots=True)
class SniffedPicture:
    """A kind of file: how to name it in a sentence, its media type and its ending."""

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


def look(head: bytes) -> SniffedPicture | None:
    """What a file that begins with `head` (64 bytes or the whole file) is; None: unknown."""
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


def dimensions(media_type: str, read: Read) -> tuple[int, int] | None:
    """Width and height in pixels of a PNG, JPEG or WebP; None where its header hides them."""
    if media_type == "image/png":
        head = read(12, 12)
        found = head[:4] == b"IHDR" and len(head) == 12
        return (_big(head[4:8]), _big(head[8:12])) if found else None
    if media_type == "image/webp":
        return _webp_dimensions(read(12, 18))
    if media_type == "image/jpeg":
        return _jpeg_dimensions(read)
    return None


def _big(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")


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


def _jpeg_dimensions(read: Read) -> tuple[int, int] | None:
    """Walk the segments before the first frame header; metadata may be long.

    None where they are too many, or where what stands between them is no segment: a reader that
    passes over it would find another frame header than this one does.
    """
    offset = 2
    for _ in range(_MOST_JPEG_SEGMENTS):
        segment = read(offset, 9)
        if len(segment) < 9 or segment[0] != 0xFF:
            return None
        kind = segment[1]
        if kind == 0xFF:  # a fill byte before a marker
            offset += 1
        elif 0xC0 <= kind <= 0xCF and kind not in _NO_FRAME:
            return _big(segment[7:9]), _big(segment[5:7])
        elif kind in _NO_MORE:
            return None
        elif kind in _ALONE:
            offset += 2
        elif (length := _big(segment[2:4])) >= 2:
            offset += 2 + length
        else:
            return None
    return None
