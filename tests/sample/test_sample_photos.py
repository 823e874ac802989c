import io
import re
from itertools import islice

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from pipeline_assets.sample.photos import (
    COLOUR_PHOTOS,
    EXIF_EVERY,
    GREY_PHOTOS,
    MAX_SIDE_PX,
    MIN_SIDE_PX,
    ORIENTED,
    sample_photos,
    shipped_file,
)

SAMPLE = list(sample_photos(60, seed=1))
CROP = re.compile(r"sample-[a-z_]+-\d{4}\.jpg")
CROPS = [file for file in SAMPLE if CROP.fullmatch(file.name)]
BY_NAME = {file.name: file.data for file in SAMPLE}


def test_every_name_is_unique_and_says_sample():
    assert len(BY_NAME) == len(SAMPLE)
    assert all(name.startswith("sample-") for name in BY_NAME)


def test_the_sample_repeats_byte_for_byte():
    assert list(sample_photos(60, seed=1)) == SAMPLE


def test_another_seed_cuts_other_crops_of_the_same_originals():
    other = {file.name: file.data for file in sample_photos(60, seed=2)}
    assert set(other) == set(BY_NAME)
    assert all(other[file.name] != file.data for file in CROPS)
    assert all(other[f"sample-{name}"] == BY_NAME[f"sample-{name}"] for name in COLOUR_PHOTOS + GREY_PHOTOS)


def test_a_larger_count_keeps_the_crops_of_a_smaller_one():
    larger = {file.name: file.data for file in sample_photos(90, seed=1)}
    assert {name: larger[name] for name in BY_NAME} == BY_NAME
    assert len(larger) == len(BY_NAME) + 30


def test_there_are_as_many_crops_as_asked_for_and_no_two_are_equal():
    assert len(CROPS) == len({file.data for file in CROPS}) == 60


def test_only_the_two_deliberate_copies_share_bytes_with_another_file():
    groups: dict[bytes, list[str]] = {}
    for name, data, _ in SAMPLE:
        groups.setdefault(data, []).append(name)
    assert sorted(names for names in groups.values() if len(names) > 1) == [
        ["sample-chelsea.png", "sample-chelsea-copy.png"],
        ["sample-rocket.jpg", "sample-rocket-copy.jpg"],
    ]


def test_the_near_duplicate_looks_like_its_original_but_has_other_bytes():
    ours, theirs = (
        np.asarray(Image.open(io.BytesIO(BY_NAME[name])), dtype=float)
        for name in ("sample-coffee.png", "sample-coffee-recompressed.jpg")
    )
    assert ours.shape == theirs.shape
    assert 0 < np.abs(ours - theirs).mean() < 5


def test_duplicates_sit_in_the_same_aligned_four_as_their_originals():
    place = {file.name: index // 4 for index, file in enumerate(SAMPLE)}
    assert place["sample-chelsea.png"] == place["sample-chelsea-copy.png"]
    assert place["sample-rocket.jpg"] == place["sample-rocket-copy.jpg"]
    assert place["sample-coffee.png"] == place["sample-coffee-recompressed.jpg"]


@pytest.mark.parametrize("file", CROPS, ids=lambda file: file.name)
def test_a_crop_is_a_whole_jpeg_of_sensible_size(file):
    image = Image.open(io.BytesIO(file.data))
    image.load()
    assert image.format == "JPEG"
    assert image.mode in {"RGB", "L"}
    assert min(image.size) >= MIN_SIDE_PX
    assert max(image.size) <= MAX_SIDE_PX


def test_some_crops_carry_personal_exif_and_the_others_none():
    with_gps = [file.name for file in CROPS if ExifTags.IFD.GPSInfo in Image.open(io.BytesIO(file.data)).getexif()]
    assert with_gps == [file.name for file in CROPS[::EXIF_EVERY]]


@pytest.mark.parametrize("orientation", ORIENTED)
def test_pixels_turned_for_storage_are_upright_after_the_viewer_turns_them_back(orientation):
    upright = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(4, 6))
    turn = ORIENTED[orientation]
    stored = upright if turn is None else upright.transpose(turn)
    stored.getexif()[ExifTags.Base.Orientation] = orientation
    assert np.array_equal(np.asarray(ImageOps.exif_transpose(stored)), np.asarray(upright))


def test_boxes_lie_on_their_photos_and_copies_have_the_same():
    labelled = {file.name: file for file in sample_photos(60) if file.labels}
    assert labelled["sample-chelsea.png"].labels == labelled["sample-chelsea-copy.png"].labels
    crops = [name for name in labelled if re.search(r"-\d{4}\.jpg$", name)]
    assert len(crops) > 10
    for file in labelled.values():
        width, height = upright(file.data).shape[1::-1]
        for box in file.labels["boxes"]:
            assert 0 <= box["x"] < box["x"] + box["width"] <= width
            assert 0 <= box["y"] < box["y"] + box["height"] <= height


def test_boxes_of_a_crop_show_what_those_of_its_original_do():
    whole = next(file for file in sample_photos(0) if file.name == "sample-rocket.jpg")
    original = upright(whole.data)
    crops = [file for file in sample_photos(120) if re.search(r"rocket-\d{4}\.jpg$", file.name) and file.labels]
    assert len(crops) > 2
    for file in crops:
        (box,) = file.labels["boxes"]
        if box["height"] > 0.99 * whole.labels["boxes"][0]["height"]:
            there, here = (
                cut(pixels, one) for pixels, one in ((original, whole.labels["boxes"][0]), (upright(file.data), box))
            )
            assert there.shape == here.shape
            assert min(np.abs(there - seen).mean() for seen in (here, here[:, ::-1])) < 6


def upright(data):
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


def cut(pixels, box):
    left, top = round(box["x"]), round(box["y"])
    return pixels[top : top + round(box["height"]), left : left + round(box["width"])].astype(float)


def test_odd_files_are_spread_among_the_crops():
    places = [index for index, file in enumerate(SAMPLE) if file.name.startswith("sample-odd-")]
    assert len(places) >= 20
    assert max(np.diff(places)) <= 4


def test_no_crops_leave_the_originals_and_the_odd_files():
    assert {file.name for file in sample_photos(0)} == set(BY_NAME) - {file.name for file in CROPS}


def test_the_first_files_come_without_cutting_all_crops():
    assert [file.name for file in islice(sample_photos(10**9), 2)] == ["sample-chelsea.png", "sample-chelsea-copy.png"]


def test_a_file_that_the_wheel_lacks_is_refused_by_name():
    with pytest.raises(FileNotFoundError, match=r"eagle\.png"):
        shipped_file("eagle.png")
