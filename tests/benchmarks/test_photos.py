import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.photos import accuracy, photos


def folder_of(folder: Path, names: list[str]) -> Path:
    for number, name in enumerate(names):
        Image.fromarray(np.full((8, 8, 3), 40 * number + 20, np.uint8)).save(folder / name, format="JPEG")
    (folder / "notes.txt").write_text("no photo")
    return folder


def test_a_small_folder_is_gone_through_again_with_other_bytes_and_the_same_pictures(tmp_path):
    found = list(photos(folder_of(tmp_path, ["a.jpg", "b.JPEG"]), 5))
    assert [name for name, _ in found] == ["a.jpg", "b.JPEG", "a-1.jpg", "b-1.JPEG", "a-2.jpg"]
    assert len({data for _, data in found}) == 5
    pictures = [np.asarray(Image.open(io.BytesIO(data))) for _, data in found]
    np.testing.assert_array_equal(pictures[0], pictures[2])
    np.testing.assert_array_equal(pictures[0], pictures[4])
    np.testing.assert_array_equal(pictures[1], pictures[3])


def test_a_folder_without_photos_says_what_it_needs(tmp_path):
    with pytest.raises(FileNotFoundError, match="name a folder of photos"):
        list(photos(folder_of(tmp_path, []), 1))


def test_the_sample_gives_as_many_as_asked_all_different():
    found = list(photos(None, 30))
    assert len(found) == len({name for name, _ in found}) == len({data for _, data in found}) == 30


def test_accuracy_is_told_only_where_names_say_what_is_right():
    assert accuracy({"n01440764_tench.JPEG": 0, "n01443537_goldfish-1.JPEG": 5}) == 0.5
    assert accuracy({"sample-cat-0001.jpg": 0}) is None
    assert accuracy({}) is None
