import csv
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_network import SHARED_PHOTOS

from pipeline_assets.classify.model_files import (
    IMAGENET_CLASSES,
    Preprocessing,
    model_digest,
    model_id,
    read_classes,
    resolve,
)
from pipeline_assets.errors import ModelUnusable

CHANNEL = st.floats(0.5, 255)


def test_the_built_in_model_id_is_its_name_and_twelve_hex_digits():
    assert re.fullmatch(r"efficientnet-lite0-[0-9a-f]{12}", model_id())
    assert model_id().endswith(model_digest())


def test_a_digest_needs_no_torch():
    code = (
        "import sys; from pipeline_assets.classify.model_files import model_id; model_id(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_digest_changes_with_weights_classes_and_preprocessing(tiny_folder: Path):
    digests = {model_digest(str(tiny_folder))}
    weights = tiny_folder / "model.pt2"
    weights.write_bytes(weights.read_bytes() + b"\0")
    digests.add(model_digest(str(tiny_folder)))
    (tiny_folder / "classes.csv").write_text("index,name\n0,rot\n1,green\n2,blue\n")
    digests.add(model_digest(str(tiny_folder)))
    (tiny_folder / "preprocessing.json").write_text('{"resize_short_px": 41, "crop_px": 32}')
    digests.add(model_digest(str(tiny_folder)))
    assert len(digests) == 4


def test_imagenet_names_are_a_thousand_distinct_ones_in_wordnet_order():
    names = read_classes(IMAGENET_CLASSES)
    assert len(set(names)) == 1000
    assert (names[0], names[1], names[134], names[517], names[999]) == (
        "tench", "goldfish", "crane (bird)", "crane (machine)", "toilet tissue",
    )  # fmt: skip
    lines = [line for line in IMAGENET_CLASSES.read_text().splitlines() if not line.startswith("#")]
    ids = [row["wnid"] for row in csv.DictReader(lines)]
    assert ids == sorted(ids)


@pytest.mark.skipif(not SHARED_PHOTOS.is_dir(), reason="../shared/photos is absent")
def test_the_class_order_agrees_with_the_list_beside_the_photos():
    lines = [line for line in IMAGENET_CLASSES.read_text().splitlines() if not line.startswith("#")]
    theirs = list(csv.DictReader((SHARED_PHOTOS / "classes.csv").read_text().splitlines()))
    assert [row["wnid"] for row in csv.DictReader(lines)] == [row["wnid"] for row in theirs]


@given(st.integers(1, 300), st.integers(0, 300), st.tuples(CHANNEL, CHANNEL, CHANNEL), st.tuples(CHANNEL, CHANNEL, CHANNEL))
def test_preprocessing_survives_json(crop, margin, mean, std):
    steps = Preprocessing(crop + margin, crop, mean, std)
    assert Preprocessing.from_json(steps.to_json()) == steps


def test_absent_keys_of_preprocessing_take_the_defaults():
    assert Preprocessing.from_json('{"crop_px": 200}') == replace(Preprocessing(), crop_px=200)


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "3", "null", '{"crop_px": "x"}',
        '{"crop_px": null}', '{"mean": 3}', '{"mean": [1, 2]}', '{"std": [0, 1, 1]}',
        '{"std": [1, 1, -1]}', '{"crop_px": 300}', '{"crop_px": 0}', '{"resize_short_px": 100000}', '{"mean": [NaN, 1, 1]}',
        '{"sice": 3}',
    ],
)  # fmt: skip
def test_wrong_preprocessing_is_refused(text):
    with pytest.raises(ModelUnusable):
        Preprocessing.from_json(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "index,name\n", "name\ncat\n", "index,name\n1,cat\n", "index,name\n0,cat\n0,dog\n", "index,name\n0,cat\n2,dog\n",
        "index,name\nx,cat\n", "index,name\n0,\n", "index,name\n0\n",
    ],
)  # fmt: skip
def test_wrong_class_lists_are_refused(tmp_path, text):
    path = tmp_path / "classes.csv"
    path.write_text(text)
    with pytest.raises(ModelUnusable, match=r"classes\.csv"):
        read_classes(path)


def test_classes_are_ordered_by_index_not_by_line(tmp_path):
    path = tmp_path / "classes.csv"
    path.write_text("index,name\n1,dog\n0,cat\n")
    assert read_classes(path) == ("cat", "dog")


def test_an_unknown_spec_says_what_would_do():
    with pytest.raises(ModelUnusable, match="efficientnet-lite0"):
        resolve("resnet-9000")


@pytest.mark.parametrize("name", ["model.pt2", "classes.csv", "preprocessing.json"])
def test_a_folder_that_lacks_a_file_says_which(tiny_folder: Path, name):
    (tiny_folder / name).unlink()
    with pytest.raises(ModelUnusable, match=name):
        resolve(str(tiny_folder))
