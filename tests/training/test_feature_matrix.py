import numpy as np
import polars as pl
import pytest
from simulated_rows import training_rows

from pipeline_assets.errors import SchemaMismatch
from pipeline_assets.training.model.feature_matrix import COLUMNS, NAMES, embeddings, features, positions
from pipeline_assets.training.schemas import TrainingTable


def column(rows: pl.DataFrame, name: str) -> list[float]:
    return features(rows)[:, NAMES.index(name)].tolist()


def test_every_feature_comes_from_a_column_of_the_training_table() -> None:
    assert set(COLUMNS) <= set(TrainingTable.column_names())
    assert len(set(NAMES)) == len(NAMES)


def test_nothing_that_is_known_only_later_is_a_feature() -> None:
    assert not {"views_7d", "popularity", "split", "photo_id"} & set(COLUMNS)


def test_hours_and_weekdays_are_points_on_a_circle() -> None:
    rows = training_rows(4).with_columns(
        posted_hour=pl.Series([0, 6, 12, 18], dtype=pl.Int8), posted_weekday=pl.Series([7, 7, 7, 7], dtype=pl.Int8)
    )
    assert column(rows, "posted_hour_sin") == pytest.approx([0, 1, 0, -1], abs=1e-6)
    assert column(rows, "posted_hour_cos") == pytest.approx([1, 0, -1, 0], abs=1e-6)
    assert column(rows, "posted_weekday_cos") == pytest.approx([1] * 4)


def test_counts_are_logarithms_and_a_missing_value_is_zero_beside_its_flag() -> None:
    rows = training_rows(3).with_columns(
        followers_at_post=pl.Series([0, 99, None], dtype=pl.Int64),
        mean_popularity_30d=pl.Series([None, 4.5, float("nan")], dtype=pl.Float32),
    )
    assert column(rows, "log_followers_at_post") == pytest.approx([0, np.log(100), 0])
    assert column(rows, "followers_at_post_missing") == [0, 0, 1]
    assert column(rows, "mean_popularity_30d") == [0, 4.5, 0]
    assert column(rows, "mean_popularity_30d_missing") == [1, 0, 1]


def test_one_row_alone_has_the_same_features_as_in_the_table() -> None:
    rows = training_rows(20)
    alone = np.concatenate([features(rows[i]) for i in range(20)])
    np.testing.assert_array_equal(alone, features(rows))


def test_no_rows_give_an_empty_matrix() -> None:
    empty = training_rows(3).clear()
    assert features(empty).shape == (0, len(NAMES))
    assert embeddings(empty, 48).shape == (0, 48)


def test_a_null_where_none_may_be_names_its_feature() -> None:
    rows = training_rows(3).with_columns(contrast=pl.lit(None, pl.Float32), posted_hour=pl.lit(None, pl.Int8))
    with pytest.raises(SchemaMismatch, match="posted_hour_sin, posted_hour_cos, contrast"):
        features(rows)


@pytest.mark.parametrize("embedding", [None, [], [1.0] * 47, [1.0] * 47 + [None], [float("inf")] * 48])
def test_an_embedding_that_is_not_whole_names_its_photo(embedding: list[float] | None) -> None:
    whole = [1.0] * 48
    rows = pl.DataFrame(
        {"photo_id": [5, 6, 7], "embedding": [whole, embedding, whole]}, schema_overrides={"embedding": pl.List(pl.Float32)}
    )
    with pytest.raises(SchemaMismatch, match="photo 6"):
        embeddings(rows, 48)


def test_positions_find_features_by_source_and_label() -> None:
    assert [NAMES[i] for i in positions(label="posted_hour")] == ["posted_hour_sin", "posted_hour_cos"]
    assert [NAMES[i] for i in positions(source="metadata")][-2:] == [
        "log_followers_at_post",
        "followers_at_post_missing",
    ]
    assert positions() == list(range(len(NAMES)))
