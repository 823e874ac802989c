"""Label Studio's brush: what label-studio-converter writes is read, and what is written has the same bits."""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline_assets.errors import UnfitParent
from pipeline_assets.labeling.services import brush

BITMAPS = arrays.arrays(np.bool_, arrays.array_shapes(min_dims=2, max_dims=2, max_side=20))
THEIRS = [0, 0, 0, 60, 57, 27, 254, 23, 0, 183, 255, 133, 192, 0]
"""encode_rle of label-studio-converter 0.0.59, of three pixels in the middle row of 5 x 3."""


def three() -> np.ndarray:
    bitmap = np.zeros((3, 5), bool)
    bitmap[1, 1:4] = True
    return bitmap


def test_bytes_of_the_converter_are_the_mask_and_the_mask_is_these_bytes() -> None:
    assert (brush.decode(THEIRS, 5, 3) == three()).all()
    assert brush.encode(three()) == THEIRS


@given(BITMAPS)
def test_a_mask_comes_back(bitmap: np.ndarray) -> None:
    height, width = bitmap.shape
    assert (brush.decode(brush.encode(bitmap), width, height) == bitmap).all()


def test_runs_longer_than_sixteen_bits_come_back() -> None:
    bitmap = np.zeros((400, 500), bool)
    bitmap[100:390] = True
    assert (brush.decode(brush.encode(bitmap), 500, 400) == bitmap).all()


def test_values_that_are_listed_one_by_one_are_read() -> None:
    """As the page itself writes them: one pixel of alpha 255 and one of 0, in a list of eight words."""
    words = "".join(f"{value:08b}" for value in (255, 255, 255, 255, 0, 0, 0, 0))
    bits = f"{8:032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16)) + "0" + "00" + f"{7:03b}" + words
    bits += "0" * (-len(bits) % 8)
    assert brush.decode(list(int(bits, 2).to_bytes(len(bits) // 8)), 2, 1).tolist() == [[True, False]]


@pytest.mark.parametrize(
    "packed",
    [
        None,
        "text",
        [],
        [0],
        [256],
        [-1],
        [1.5],
        [0] * 8,
        THEIRS[:-2],
        THEIRS[:7],
        [255] * 40,
        [0, 0, 0, 61, *THEIRS[4:]],
        [127, 255, 255, 255, *THEIRS[4:]],
        [0, 0, 0, 60, *[0] * 60],
    ],
)
def test_bytes_that_are_no_mask_of_the_photo_are_refused(packed: object) -> None:
    with pytest.raises(UnfitParent):
        brush.decode(packed, 5, 3)


@given(st.lists(st.integers(0, 255), max_size=60))
def test_any_bytes_are_a_mask_or_refused(packed: list[int]) -> None:
    with contextlib.suppress(UnfitParent):
        assert brush.decode([0, 0, 0, 60, *packed], 5, 3).shape == (3, 5)
