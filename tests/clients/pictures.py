"""What the clients send, as files, and what of it can be seen in the answers."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image, ImageOps

from tests.support.serving import PHOTOGRAPH
from tests.support.upstreams import png

SIZE = (16, 12)
WHITE, BLACK = 255, 0


def written_to(folder: Path) -> Path:
    """Every file that a test sends, in this folder, by names that say what they are."""
    _plain(WHITE).save(folder / "white.png")
    _plain(BLACK).save(folder / "black.png")
    _plain(WHITE).save(folder / "white.webp", lossless=True)
    _left_half_open().save(folder / "mask.png")
    (folder / "photo.jpg").write_bytes(PHOTOGRAPH)
    (folder / 'Ünïcödé "quoted" photo.jpg').write_bytes(PHOTOGRAPH)
    large = png(800, 800, noise=True)
    (folder / "large.png").write_bytes(large)
    (folder / "huge.png").write_bytes(large + bytes(17_000_000))
    (folder / "notes.txt").write_text("This is no picture.\n" * 10)
    return folder


def opened(b64_json: str | None) -> Image.Image:
    """The picture of an answer."""
    return Image.open(io.BytesIO(base64.b64decode(b64_json or "", validate=True)))


def is_grey_photograph(b64_json: str | None) -> bool:
    """Is it the photograph, in its size, as the upstream greys it?"""
    wanted = ImageOps.grayscale(Image.open(io.BytesIO(PHOTOGRAPH)).convert("RGB"))
    return opened(b64_json).convert("RGB").tobytes() == wanted.convert("RGB").tobytes()


def halves(b64_json: str | None) -> tuple[int, int]:
    """How bright the left and the right end of a picture are, 0 to 255."""
    picture = opened(b64_json).convert("L")
    row = picture.tobytes()[: picture.width]
    return row[0], row[-1]


def _plain(level: int) -> Image.Image:
    return Image.new("RGB", SIZE, (level, level, level))


def _left_half_open() -> Image.Image:
    """A mask that lets the left half be changed."""
    mask = Image.new("RGBA", SIZE, (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (0, 0, SIZE[0] // 2, SIZE[1]))
    return mask
