from __future__ import annotations

import pytest
from PIL import Image

from gateway.emulator import SAMPLE_PHOTOGRAPH
from gateway.emulator.operations import OPERATIONS, Operation, carried_out, named_in


def photograph() -> Image.Image:
    with Image.open(SAMPLE_PHOTOGRAPH) as picture:
        return picture.convert("RGB")


@pytest.mark.parametrize(
    ("prompt", "names"),
    [
        ("make it gray", ["grey"]),
        ("black and white, please", ["grey"]),
        ("Blur it, then INVERT and blur again", ["blur", "invert"]),
        ("turn it upside down and flip it", ["upside_down", "mirror"]),
        ("rotate, sharpen, posterize", ["rotate", "sharpen", "posterize"]),
        ("a brighter, more colourful sketch", ["brighter", "vivid", "edges"]),
        ("remove the person on the left", []),
        ("ungreyed hedges", []),
    ],
)
def test_a_prompt_names_operations_in_its_order(prompt: str, names: list[str]) -> None:
    assert [operation.name for operation in named_in(prompt)] == names


def test_no_two_operations_do_the_same() -> None:
    results = {o.apply(photograph()).tobytes() for o in OPERATIONS} | {photograph().tobytes()}
    assert len(results) == len(OPERATIONS) + 1


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_an_operation_takes_even_a_single_pixel(operation: Operation) -> None:
    made = operation.apply(Image.new("RGB", (1, 1), "red"))
    assert (made.mode, made.size) == ("RGB", (1, 1))


def test_a_prompt_without_a_known_word_tints_in_a_colour_of_its_own() -> None:
    prompts = ("a dragon", "a dragoon", "")
    results = {carried_out(prompt, photograph()).tobytes() for prompt in prompts}
    assert len(results) == 3
