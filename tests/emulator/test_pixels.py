"""The drawing itself, on pictures that are awkward."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from gateway.emulator.pixels import collage, opened
from gateway.emulator.refusals import Refused
from tests.emulator.calling import BLUE, GREEN, RED, WHITE, picture_file


def plain(colour: tuple[int, int, int], size: tuple[int, int] = (60, 40)) -> Image.Image:
    return Image.new("RGB", size, colour)


def test_a_collage_keeps_the_first_pictures_size_and_all_of_their_colours() -> None:
    made = collage([plain(RED), plain(GREEN, (7, 90)), plain(BLUE, (200, 3))])
    assert made.size == (60, 40)
    assert [made.getpixel(at) for at in ((5, 5), (55, 5), (5, 35), (55, 35))] == [
        RED,
        GREEN,
        BLUE,
        BLUE,
    ]


@pytest.mark.parametrize("count", range(1, 15))
def test_a_collage_leaves_nothing_bare(count: int) -> None:
    made = collage([plain(WHITE)] * count)
    assert made.getextrema() == ((255, 255),) * 3


def test_a_collage_of_single_pixels_is_possible() -> None:
    assert collage([plain(RED, (1, 1))] * 14).size == (1, 1)


def test_what_is_transparent_becomes_white() -> None:
    assert opened(picture_file((255, 0, 0, 0)), "image").getpixel((0, 0)) == WHITE


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_each_documented_format_is_read(kind: str) -> None:
    assert opened(picture_file(kind=kind), "image").size == (24, 16)


def test_a_photograph_is_turned_upright() -> None:
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    plain(RED).save(file, "JPEG", exif=exif)
    assert opened(file.getvalue(), "image").size == (40, 60)


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_unpacked() -> None:
    file = io.BytesIO()
    Image.new("1", (9000, 8000)).save(file, "PNG")
    with pytest.raises(Refused, match="too many pixels"):
        opened(file.getvalue(), "image")
