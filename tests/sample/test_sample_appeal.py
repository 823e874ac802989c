import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline_assets.sample.appeal import LIMIT, appeal, appeal_of_pixels, measurements
from pipeline_assets.sample.odd_files import bomb_png, drawing, encoded, odd_files, truncated


def flat(red: float, green: float, blue: float) -> np.ndarray:
    return np.broadcast_to(np.array([red, green, blue]), (4, 4, 3))


def test_a_flat_grey_has_only_brightness():
    measured = measurements(flat(0.5, 0.5, 0.5))
    assert measured == pytest.approx(
        {"colourfulness": 0, "brightness": 0.5, "log_edges": np.log(0.005), "warmth": 0}, abs=1e-12
    )


def test_a_flat_orange_is_warm_and_colourful():
    # red - green 0.5, yellow - blue 0.75: 0.3 * hypot = 0.2704; luma 0.2126 + 0.7152 / 2.
    measured = measurements(flat(1, 0.5, 0))
    assert measured["colourfulness"] == pytest.approx(0.3 * np.hypot(0.5, 0.75))
    assert measured["brightness"] == pytest.approx(0.5702)
    assert measured["warmth"] == pytest.approx(1)


def test_vertical_stripes_have_edges_in_one_direction():
    stripes = np.zeros((4, 4, 3))
    stripes[:, ::2] = 1
    assert measurements(stripes)["log_edges"] == pytest.approx(np.log(0.5 + 0.005))


@given(hnp.arrays(np.float64, (4, 5, 3), elements=st.floats(0, 1)))
def test_appeal_is_bounded_and_blind_to_mirroring(rgb):
    value = appeal_of_pixels(rgb)
    assert abs(value) <= LIMIT
    assert appeal_of_pixels(rgb[:, ::-1]) == pytest.approx(value, abs=1e-9)
    assert appeal_of_pixels(rgb[::-1]) == pytest.approx(value, abs=1e-9)


@given(hnp.arrays(np.float64, (4, 4, 3), elements=st.floats(0, 0.9)), st.floats(0, 1e-4))
def test_a_hardly_visible_change_hardly_changes_appeal(rgb, step):
    assert abs(appeal_of_pixels(rgb + step) - appeal_of_pixels(rgb)) < 0.02


def test_the_same_picture_in_another_format_appeals_about_the_same():
    picture = drawing(640, 480, seed=4)
    values = [appeal(encoded(picture, name)) for name in ("PNG", "BMP", "TIFF")]
    assert values[0] == values[1] == values[2]
    assert appeal(encoded(picture, "JPEG", quality=95)) == pytest.approx(values[0], abs=0.05)


def test_pictures_differ_in_appeal():
    assert np.std([appeal(encoded(drawing(seed=seed), "PNG")) for seed in range(12)]) > 0.1


@pytest.mark.parametrize("data", [b"", b"not a photo", bomb_png(), bomb_png(9_000, 9_000), b"\xff\xd8\xff\xe0"])
def test_what_does_not_decode_has_no_appeal(data):
    assert appeal(data) is None


def test_every_odd_file_gets_a_number_or_nothing():
    for odd in odd_files():
        value = appeal(odd.data)
        assert (value is None) or abs(value) <= LIMIT
        if odd.verdicts & {"empty", "truncated", "not_an_image", "too_many_pixels"}:
            assert value is None, odd.name


@given(st.floats(0, 0.95), st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "BMP"]))
def test_a_cut_file_never_raises(keep, image_format):
    value = appeal(truncated(encoded(drawing(32, 32), image_format), keep))
    assert value is None or abs(value) <= LIMIT
