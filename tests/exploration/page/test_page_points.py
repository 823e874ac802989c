"""One row a photo, of many tables."""

from datetime import date

import numpy as np
import polars as pl
from photo_rows import DAY, training_rows

from pipeline_assets.exploration.page import points as module
from pipeline_assets.exploration.page.points import class_labels, points, suspects


def test_what_other_tables_know_stands_beside_each_photo():
    training = training_rows(3)
    found = points(
        training,
        styles=pl.DataFrame({"day": [DAY], "sha256": [f"{0:064x}"], "look": ["vintage"], "look_probability": [0.5]}),
        photos=pl.DataFrame(
            {"day": [DAY, date(2026, 1, 2)], "photo_id": [1, 2], "key": ["k1", "k2"], "title": ["A cat", "A dog"]}
        ),
        labels=pl.DataFrame(
            {"day": [DAY], "key": ["k1"], "sha256": [f"{0:064x}"], "column": ["label pets"], "value": ["cat"]}
        ),
        predictions=pl.DataFrame({"photo_id": [2], "prediction": [1.5]}),
        owners={0: "user-a", 1: "user-b"},
    )
    assert found.rows.columns[:6] == ["photo_id", "day", "top_class", "look", "owner", "split"]
    assert found.rows.select("look", "owner", "title", "label pets").rows() == [
        ("vintage", "user-a", "A cat", "cat"),
        (None, "user-b", "A dog", None),
        (None, None, None, None),
    ]
    assert found.rows["model_error"].round(4).to_list() == [None, 1.49, None]
    assert not {"user_id", "sha256", "embedding"} & set(found.rows.columns)
    assert "title" not in found.without("title", "key").rows.columns


def test_the_map_has_the_places_of_embeddings_and_without_them_two_columns():
    training = training_rows(3)
    found = points(training)
    assert found.axes == module.FALLBACK_AXES
    np.testing.assert_array_equal(found.x, training["brightness"])
    places = pl.DataFrame(
        {
            "photo_id": [3, 1],
            "x": [1.0, float("inf")],
            "y": [2.0, 0.0],
            "cluster": [7, -1],
            "duplicate_group": ["ab" * 32, None],
            "neighbours": [[f"{number:064x}" for number in (0, 99, 2)], None],
        },
        schema_overrides={"neighbours": pl.List(pl.String)},
    )
    found = points(training, places=places)
    assert found.axes is None
    np.testing.assert_array_equal(found.x, np.array([np.nan, np.nan, 1], np.float32))
    assert found.rows["cluster"].to_list() == [None, None, "7"]
    assert found.rows["duplicate_group"].to_list() == [None, None, "ab" * 6]
    assert found.neighbours.tolist() == [[-1] * 8, [-1] * 8, [0, 2, *[-1] * 6]]


def test_rows_of_another_table_that_come_twice_double_no_photo():
    styles = pl.DataFrame(
        {"day": [DAY, DAY], "sha256": [f"{0:064x}"] * 2, "look": ["a", "b"], "look_probability": [0.5] * 2}
    )
    assert points(training_rows(2), styles=styles).rows["look"].to_list() == ["a", None]


def test_no_photos_are_no_points():
    found = points(training_rows(0), places=pl.DataFrame({"photo_id": [1], "x": [1.0], "y": [1.0]}))
    assert found.rows.height == 0
    assert found.x.size == found.y.size == found.neighbours.size == 0


def consensus_of(*rows, **columns):
    """LabelConsensus, of (key, sha256, version, answer)."""
    names = {"key": pl.String, "sha256": pl.String, "version": pl.Int64, "answer_json": pl.String}
    kept = {"day": DAY, "campaign": "pets", "target": "upload", "kind": "class", "needs_adjudication": False} | columns
    return pl.DataFrame(rows, schema=names, orient="row").with_columns(
        answer_json=pl.concat_str(pl.lit('{"choice":"'), "answer_json", pl.lit('"}')),
        **{name: pl.lit(one) for name, one in kept.items()},
    )


def suspects_of(*rows):
    """LabelSuspects, of (key, sha256, version, kind, score)."""
    names = {"key": pl.String, "sha256": pl.String, "version": pl.Int64, "kind": pl.String, "score": pl.Float64}
    found = pl.DataFrame(rows, schema=names, orient="row")
    return found.with_columns(photo_day=pl.lit(DAY), campaign=pl.lit("pets"), target=pl.lit("upload"))


def test_labels_are_the_sure_classes_of_uploads():
    consensus = pl.concat(
        [
            consensus_of(("a", "aa", 1, "cat")),
            consensus_of(("b", "bb", 1, "cat"), target="title"),
            consensus_of(("c", "cc", 1, "cat"), kind="boxes"),
            consensus_of(("d", "dd", 1, "cat"), needs_adjudication=True),
        ]
    )
    assert class_labels(consensus).rows() == [(DAY, "a", "aa", "label pets", "cat")]


def test_suspects_are_those_of_uploads_the_surest_first():
    rows = pl.concat(
        [
            suspects_of(("a", "aa", 1, "out_of_distribution", 0.1), ("a", "aa", 1, "label_error", 0.9)),
            suspects_of(("b", "bb", 1, "label_error", 1.0)).with_columns(target=pl.lit("title")),
        ]
    )
    found = suspects(rows, consensus_of(("a", "aa", 1, "cat"))).select("day", "key", "column", "value").rows()
    assert found == [(DAY, "a", "suspect pets", "label_error"), (DAY, "a", "suspect pets", "out_of_distribution")]


def test_an_answer_to_an_older_question_is_no_label_and_no_suspect():
    older, newer, disputed = ("k1", f"{0:064x}", 1, "cat"), ("k1", f"{0:064x}", 2, "dog"), ("k2", f"{1:064x}", 2, "dog")
    old_suspect, new_suspect = (*older[:3], "label_error", 1.0), (*newer[:3], "out_of_distribution", 0.1)
    sure = consensus_of(older, newer)
    assert class_labels(sure)["value"].to_list() == ["dog"]
    assert suspects(suspects_of(old_suspect, new_suspect), sure)["value"].to_list() == ["out_of_distribution"]
    assert class_labels(pl.concat([consensus_of(older), consensus_of(disputed, needs_adjudication=True)])).is_empty()


def test_a_label_of_other_bytes_under_the_key_is_none_of_the_photo():
    training, photos = training_rows(1), pl.DataFrame({"day": [DAY], "photo_id": [1], "key": ["k1"]})
    other, own = ("k1", "ab" * 32, 1, "dog"), ("k1", f"{0:064x}", 1, "cat")

    def shown(consensus, suspect):
        labels = pl.concat([class_labels(consensus), suspects(suspect, consensus)], how="diagonal")
        return points(training, photos=photos, labels=labels).rows

    suspect = suspects_of((*other[:3], "label_error", 1.0), (*own[:3], "out_of_distribution", 0.1))
    rows = shown(consensus_of(other, own), suspect)
    assert rows.select("label pets", "suspect pets").rows() == [("cat", "out_of_distribution")]
    of_others = shown(consensus_of(other), suspect.head(1))
    assert of_others.select("label pets", "suspect pets").rows() == [(None, None)]
