import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipeline_assets.classify import looks, model_files
from pipeline_assets.classify.look_training import fit_head
from pipeline_assets.classify.looks import Head, inputs_of, load, save, with_looks
from pipeline_assets.classify.schemas import PhotoStyles
from pipeline_assets.errors import ModelUnusable
from pipeline_assets.variants.photos.ready_made import LOOKS

WIDTH = 2 + 5 + 15


def head(classifier_id="m"):
    """Told by the embedding alone: its first number speaks for sepia, its second for none."""
    weights = np.zeros((WIDTH, 2), dtype=np.float32)
    weights[0, 1] = weights[1, 0] = 1
    return Head(weights, np.zeros(2, dtype=np.float32), ("natural", "sepia"), classifier_id, {"sepia": (0.9, 0.01)})


def styles(*keys):
    measured = {"brightness": 0.5, "contrast": 0.2, "saturation": 0.2, "colourfulness": 20.0, "sharpness": 300.0}
    return pl.DataFrame([{"sha256": key, **measured} for key in keys])


def classes(**embeddings):
    rows = [{"sha256": key, "model_id": "m", "embedding": value} for key, value in embeddings.items()]
    return pl.DataFrame(rows, schema={"sha256": pl.String, "model_id": pl.String, "embedding": pl.List(pl.Float32)})


def test_looks_are_told_as_worked_by_hand():
    found = with_looks(styles("a", "b"), classes(b=[0.0, 3.0], a=[1.0, 0.0]), "sha256", head())
    assert found["look"].to_list() == ["sepia", "natural"]
    assert found["look_probability"].to_list() == pytest.approx([0.7311, 0.9526], abs=1e-4)
    assert found["look_model_id"].unique().to_list() == [head().model_id]
    assert_frame_equal(found.select(styles("a").columns), styles("a", "b"))


def test_a_photo_on_two_days_is_in_two_rows():
    found = with_looks(styles("a", "b", "a"), classes(a=[1.0, 0.0], b=[1.0, 0.0]), "sha256", head())
    assert found["sha256"].to_list() == ["a", "b", "a"] and found["look"].to_list() == ["sepia"] * 3


def test_without_an_embedding_of_the_classifier_there_is_no_look():
    some = with_looks(styles("a", "b"), classes(a=[1.0, 0.0]), "sha256", head())
    assert some["look"].to_list() == ["sepia", None]
    none = with_looks(styles("a", "b"), classes(a=[1.0, 0.0]), "sha256", head("another"))
    assert none["look"].to_list() == [None, None] and none.schema == some.schema


def test_a_row_depends_on_its_photo_alone():
    random = np.random.default_rng(0)
    own = Head(random.normal(size=(1300, 7)).astype(np.float32), np.zeros(7, dtype=np.float32), tuple("abcdefg"), "m", {})
    known = classes(**{f"p{n}": random.random(1280).tolist() for n in range(50)})
    together = with_looks(styles(*known["sha256"]), known, "sha256", own)
    alone = pl.concat(with_looks(styles(key), known, "sha256", own) for key in known["sha256"])
    assert_frame_equal(together, alone, check_exact=True)


def test_a_head_is_read_as_it_was_written_and_its_id_follows_its_numbers(tmp_path):
    save(head(), tmp_path / "head.npz")
    read = load(tmp_path / "head.npz")
    assert read.model_id == head().model_id != head("another").model_id
    assert (read.looks, read.accuracy) == (head().looks, head().accuracy)
    other = head()
    other.weights[0, 0] = 0.5
    assert other.model_id != head().model_id


@pytest.mark.parametrize("damage", [b"", b"no arrays", b"PK\x03\x04" + b"0" * 40])
def test_a_damaged_head_is_told(tmp_path, damage):
    path = tmp_path / "head.npz"
    path.write_bytes(damage)
    with pytest.raises(ModelUnusable, match="can't be read"):
        load(path)
    with pytest.raises(ModelUnusable):
        load(tmp_path / "none.npz")


def test_the_head_that_comes_along_fits_the_classifier_that_does():
    own = load()
    assert own.classifier_id == model_files.model_id(), "train it again: python -m benchmarks.variants_styles --write"
    assert own.looks == ("natural", *LOOKS) and set(own.accuracy) == set(own.looks)
    assert own.weights.shape == (1280 + len(inputs_of(styles("a").with_columns(embedding=pl.lit([0.0]))).T) - 1, 7)
    assert {"look", "look_probability", "look_model_id"} <= set(PhotoStyles.column_names())


def test_training_finds_what_separates():
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 300)
    inputs = (random.normal(size=(300, 6)) + 5 * np.eye(3, 6)[labels]).astype(np.float32)
    weights, bias = fit_head(inputs[:200], labels[:200], 3, seed=1)
    assert ((inputs[200:] @ weights + bias).argmax(1) == labels[200:]).mean() > 0.95
    again, _ = fit_head(inputs[:200], labels[:200], 3, seed=1)
    np.testing.assert_array_equal(weights, again)


def test_measures_go_in_about_what_is_typical():
    assert np.abs(inputs_of(styles("a").with_columns(embedding=pl.lit([0.5, 0.5])))[0]).max() < 2
    assert len(looks.MEASURES) == 5
