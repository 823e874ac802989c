import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline_assets.classify.schemas import PhotoStyles
from pipeline_assets.classify.styles import Styles, measure_styles

SOME_IMAGE = arrays(np.uint8, st.tuples(st.integers(3, 12), st.integers(3, 12), st.just(3)))


def flat(red: int, green: int, blue: int) -> np.ndarray:
    return np.broadcast_to(np.array([red, green, blue], np.uint8), (6, 8, 3))


# Worked by hand: red has rg = 255, yb = 127.5, so M3 = 0.3 * 285.10 = 85.53; blue has rg = 0, yb = -255, so 76.5.
@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (flat(128, 128, 128), Styles(128 / 255, 0, 0, 0, 0, 1.5)),
        (flat(0, 0, 0), Styles(0, 0, 0, 0, 0, 1.5)),
        (flat(255, 255, 255), Styles(1, 0, 0, 0, 0, 1.5)),
        (flat(255, 0, 0), Styles(0.2126, 0, 1, 85.529, 0, 1.5)),
        (flat(0, 255, 0), Styles(0.7152, 0, 1, 85.529, 0, 1.5)),
        (flat(0, 0, 255), Styles(0.0722, 0, 1, 76.5, 0, 1.5)),
        (flat(200, 100, 100), Styles((200 * 0.2126 + 100 * 0.7874) / 255, 0, 0.5, 0.3 * (100**2 + 50**2) ** 0.5, 0, 1.5)),
    ],
    ids=["grey", "black", "white", "red", "green", "blue", "half saturated"],
)
def test_flat_colours_measure_as_worked_by_hand(image, expected):
    measured = measure_styles(image, 1.5)
    for name, value in vars(expected).items():
        assert getattr(measured, name) == pytest.approx(value, abs=1e-3), name


def test_a_checkerboard_has_the_greatest_contrast_and_a_laplacian_of_four_steps():
    board = np.repeat((np.indices((8, 8)).sum(0) % 2 * 255)[:, :, None], 3, axis=2).astype(np.uint8)
    measured = measure_styles(board, 1)
    assert measured.brightness == pytest.approx(0.5, abs=1e-6)
    assert measured.contrast == pytest.approx(0.5, abs=1e-6)
    # Each inner pixel is 255 from all four neighbours: +-1020, half of each, so the variance is 1020^2.
    assert measured.sharpness == pytest.approx(1020**2, rel=1e-5)
    assert measured.colourfulness == pytest.approx(0, abs=1e-3)


def test_two_opposite_halves_are_more_colourful_than_either():
    # Left red, right green: rg is +-255 (mean 0, deviation 255), yb is 127.5: M3 = 255 + 0.3 * 127.5.
    image = np.concatenate([flat(255, 0, 0), flat(0, 255, 0)], axis=1)
    assert measure_styles(image, 1).colourfulness == pytest.approx(255 + 0.3 * 127.5, abs=1e-3)


def test_a_ramp_is_not_sharp():
    ramp = np.repeat(np.arange(0, 200, 2, dtype=np.uint8)[None, :, None], 20, axis=0).repeat(3, axis=2)
    measured = measure_styles(ramp, 1)
    assert measured.sharpness == pytest.approx(0, abs=1e-6)
    assert measured.contrast == pytest.approx(np.arange(0, 200, 2).std() / 255, abs=1e-5)


@settings(max_examples=60)
@given(SOME_IMAGE)
def test_measures_stay_in_their_ranges(image):
    measured = vars(measure_styles(image, 1.0))
    for name, value in measured.items():
        column = getattr(PhotoStyles, name)
        assert value >= column.min
        assert column.max is None or value <= column.max


@settings(max_examples=60)
@given(SOME_IMAGE)
def test_mirroring_and_turning_change_nothing(image):
    before = measure_styles(image, 1.0)
    for same in (image[:, ::-1], image[::-1], image.transpose(1, 0, 2)):
        for name, value in vars(measure_styles(same, 1.0)).items():
            assert value == pytest.approx(getattr(before, name), rel=1e-4, abs=1e-3)


@settings(max_examples=60)
@given(SOME_IMAGE)
def test_colourfulness_is_the_papers_formula(image):
    red, green, blue = image.astype(float).transpose(2, 0, 1)
    rg, yb = red - green, (red + green) / 2 - blue
    expected = np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())
    assert measure_styles(image, 1.0).colourfulness == pytest.approx(expected, rel=1e-4, abs=1e-3)
