import io
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image, UnidentifiedImageError

from pipeline_assets.ingestion.verdicts import VERDICTS
from pipeline_assets.sample.odd_files import (
    animation,
    bomb_png,
    drawing,
    encoded,
    odd_files,
    sixteen_bit_png,
    truncated,
    with_exif,
)

ODD = {odd.name: odd.data for odd in odd_files()}


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def test_odd_files_have_unique_names_distinct_bytes_and_known_verdicts():
    odd = list(odd_files())
    assert len({file.name for file in odd}) == len({file.data for file in odd}) == len(odd)
    assert all(file.verdicts and file.verdicts <= set(VERDICTS) for file in odd)


def test_odd_files_are_the_same_bytes_at_every_call():
    assert list(odd_files()) == list(odd_files())


def test_most_quarantine_reasons_that_bytes_can_give_are_met():
    met = set().union(*(file.verdicts for file in odd_files()))
    others = {"bad_key", "bad_samples", "gone", "unreadable", "too_costly", "too_large", "too_long"}
    assert met >= set(VERDICTS) - others


@pytest.mark.parametrize("name", ["truncated.jpg", "truncated.png", "flipped-byte.png"])
def test_a_broken_photo_opens_but_does_not_decode(name):
    image = opened(ODD[name])
    with pytest.raises((OSError, SyntaxError)):
        image.load()


@pytest.mark.parametrize("name", ["zero-bytes.jpg", "text-named.jpg", "notes.txt", "script.svg"])
def test_what_is_no_image_does_not_open(name):
    with pytest.raises(UnidentifiedImageError):
        opened(ODD[name])


@pytest.mark.parametrize(
    ("name", "image_format", "mode"),
    [
        ("png-named.jpg", "PNG", "RGB"),
        ("jpeg-named.png", "JPEG", "RGB"),
        ("cmyk.jpg", "JPEG", "CMYK"),
        ("sixteen-bit.png", "PNG", "I;16"),
        ("palette.png", "PNG", "P"),
    ],
)
def test_a_named_oddity_is_what_its_name_says(name, image_format, mode):
    image = opened(ODD[name])
    image.load()
    assert (image.format, image.mode) == (image_format, mode)


def test_the_bomb_is_small_and_pillow_refuses_it():
    assert len(bomb_png()) < 200
    with pytest.raises(Image.DecompressionBombError):
        opened(bomb_png())


def test_a_bomb_declares_the_size_that_was_asked_for():
    assert opened(bomb_png(300, 20)).size == (300, 20)


@pytest.mark.parametrize("image_format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_an_animation_has_all_its_frames(image_format):
    image = opened(animation(image_format, frames=3))
    assert (image.format, image.n_frames) == (image_format, 3)


def test_sixteen_bits_reach_values_beyond_eight():
    assert opened(sixteen_bit_png()).getextrema() == (0, 65_535)


def test_drawings_differ_by_seed_and_repeat_by_seed():
    assert drawing(seed=1).tobytes() == drawing(seed=1).tobytes() != drawing(seed=2).tobytes()


@given(st.binary(max_size=300), st.floats(0, 1))
def test_truncation_keeps_a_prefix_and_no_more(data, keep):
    short = truncated(data, keep)
    assert data.startswith(short)
    assert len(short) <= len(data) * keep


def test_exif_comes_back_as_it_was_given():
    data = with_exif(
        drawing(40, 30),
        orientation=6,
        taken_at=datetime(2024, 5, 17, 8, 9, 10),  # noqa: DTZ001
        camera=("Maker", "Model 1"),
        position_deg=(-33.5, 151.25),
    )
    exif = opened(data).getexif()
    gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
    assert exif[ExifTags.Base.Orientation] == 6
    assert (exif[ExifTags.Base.Make], exif[ExifTags.Base.Model]) == ("Maker", "Model 1")
    assert exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] == "2024:05:17 08:09:10"
    assert (gps[ExifTags.GPS.GPSLatitudeRef], gps[ExifTags.GPS.GPSLatitude]) == ("S", (33, 30, 0))
    assert (gps[ExifTags.GPS.GPSLongitudeRef], gps[ExifTags.GPS.GPSLongitude]) == ("E", (151, 15, 0))


def test_exif_holds_nothing_that_was_not_given():
    exif = opened(with_exif(drawing(40, 30))).getexif()
    assert dict(exif) == {ExifTags.Base.Orientation: 1}


def test_encoding_keeps_the_pixels_of_a_lossless_format():
    picture = drawing(33, 21)
    assert opened(encoded(picture, "PNG")).tobytes() == picture.tobytes()
