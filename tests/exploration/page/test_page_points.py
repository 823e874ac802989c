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
        labels=pl.DataFrame({"day": [DAY], "key": ["k1"], "column": ["label pets"], "value": ["cat"]}),
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


def test_labels_are_the_sure_classes_of_uploads():
    consensus = pl.DataFrame(
        {
            "day": [DAY] * 4,
            "key": ["a", "b", "c", "d"],
            "campaign": ["pets"] * 4,
            "target": ["upload", "title", "upload", "upload"],
            "kind": ["class", "class", "boxes", "class"],
            "needs_adjudication": [False, False, False, True],
            "answer_json": ['{"choice":"cat"}'] * 4,
        }
    )
    assert class_labels(consensus).rows() == [(DAY, "a", "label pets", "cat")]


def test_suspects_are_those_of_uploads_the_surest_first():
    rows = pl.DataFrame(
        {
            "photo_day": [DAY] * 3,
            "key": ["a", "a", "b"],
            "campaign": ["pets"] * 3,
            "target": ["upload", "upload", "title"],
            "kind": ["out_of_distribution", "label_error", "label_error"],
            "score": [0.1, 0.9, 1.0],
        }
    )
    found = suspects(rows).select("day", "key", "column", "value").rows()
    assert found == [(DAY, "a", "suspect pets", "label_error"), (DAY, "a", "suspect pets", "out_of_distribution")]
