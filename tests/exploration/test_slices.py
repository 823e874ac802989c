"""Slices are found on some users, and confirmed by others."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipeline_assets.exploration.slices.schemas import Slices
from pipeline_assets.exploration.slices.slices import FOUND, slices
from pipeline_assets.training.split import splitmix64

COLUMNS = ("top_class", "brightness", "has_location", "logins_30d", "followers_at_post")


def photos(seed=0, rows=3_000, users=300, weak=(), factor=2.5):
    """Held-out photos with errors of deviation 0.5, times `factor` where a condition of `weak` holds."""
    random = np.random.default_rng(seed)
    user = random.integers(0, users, rows)
    made = pl.DataFrame(
        {
            "user_id": user + 1_000 * seed,
            "sha256": [f"{number:064x}" for number in range(rows)],
            "top_class": random.choice(["cat", "dog", "it's"], rows, p=[0.5, 0.4, 0.1]),
            "brightness": random.random(rows).astype(np.float32),
            "has_location": random.random(rows) < 0.4,
            "logins_30d": random.poisson(5, users)[user],
            "followers_at_post": pl.Series(np.exp(random.normal(4, 1, users)).astype(int)[user]),
            "popularity": random.normal(4, 1, rows),
        }
    )
    is_weak = np.zeros(rows, bool)
    for condition in weak:
        is_weak |= made.select(pl.sql_expr(condition)).to_series().to_numpy()
    errors = 0.5 * random.normal(size=rows) * np.where(is_weak, factor, 1)
    return made.with_columns(prediction=pl.col("popularity") + pl.Series(errors))


def weak_texts(rows):
    return slices(rows, COLUMNS).filter("is_weak")["slice"].to_list()


def test_planted_slices_are_found_and_named_by_conditions_that_select_them():
    planted = ("top_class = 'it''s'", "has_location = true and brightness > 0.75")
    rows = photos(weak=planted)
    found = slices(rows, COLUMNS)
    Slices.validate(
        found.with_columns(day=pl.date(2026, 1, 2), weights_sha256=pl.lit("0" * 64)).select(Slices.column_names())
    )
    weak = found.filter("is_weak")
    assert weak.height == 2
    for condition in planted:
        truth = rows.select(pl.sql_expr(condition)).to_series()
        overlaps = []
        for text, count in weak.select("slice", "rows").iter_rows():
            inside = rows.select(pl.sql_expr(text)).to_series()
            assert inside.sum() == count
            overlaps.append((inside & truth).sum() / (inside | truth).sum())
        assert max(overlaps) > 0.8
    assert (weak["effect_low"] > 0).all()
    assert (weak["error_inside"] > 1.5 * weak["error_outside"]).all()
    assert found["found_as"].to_list() == [*range(1, found.height + 1)]


def test_a_weakness_is_explained_once():
    rows = photos(weak=["top_class = 'it''s'"]).with_columns(tags=pl.col("top_class") == "it's")
    copied = rows.with_columns(logins_30d=pl.when("tags").then(50).otherwise("logins_30d"))
    assert weak_texts(copied) in (["top_class = 'it''s'"], ["logins_30d > 9"], ["logins_30d > 10"], ["logins_30d > 8"])


@pytest.mark.slow
def test_errors_that_nothing_explains_are_no_slice():
    assert [weak_texts(photos(seed, rows=1_500, users=150)) for seed in range(8)] == [[]] * 8


def test_the_order_of_rows_changes_nothing():
    rows = photos(weak=["has_location = true"])
    assert_frame_equal(slices(rows, COLUMNS), slices(rows.sample(fraction=1, shuffle=True, seed=1), COLUMNS))


def test_what_is_weak_only_for_the_users_who_are_searched_is_found_and_not_confirmed():
    rows = photos()
    is_searched = rows.select(splitmix64(pl.col("user_id")) % 2 == 0).to_series()
    doubled = pl.when(is_searched & pl.col("has_location")).then(3.0).otherwise(1.0)
    error = (pl.col("prediction") - pl.col("popularity")) * doubled
    found = slices(rows.with_columns(prediction=pl.col("popularity") + error), COLUMNS)
    assert found["slice"][0] == "has_location = true"
    assert not found["is_weak"].any()


def test_a_slice_of_too_few_other_users_stays_unconfirmed_and_says_nothing_of_errors():
    found = slices(photos(rows=120, users=30, weak=["top_class = 'dog'"], factor=6), COLUMNS)
    untested = found.filter(pl.col("error_inside").is_null())
    assert (untested["p"] == 1).all()
    assert not untested["is_weak"].any()


@pytest.mark.parametrize("rows", [0, 1, 39, 60])
def test_few_photos_have_no_slices_and_no_fault(rows):
    found = slices(photos(rows=rows) if rows else photos(rows=1).clear(), COLUMNS)
    assert found.schema == FOUND
    assert not found["is_weak"].any()


def test_one_user_and_one_value_have_no_slices():
    rows = photos().with_columns(user_id=pl.lit(1, pl.Int64))
    assert not slices(rows, COLUMNS)["is_weak"].any()
    same = photos().with_columns(
        top_class=pl.lit("a"), brightness=pl.lit(0.5), has_location=True, logins_30d=1, followers_at_post=None
    )
    assert slices(same, COLUMNS).is_empty()


def test_a_look_or_a_cluster_where_the_model_is_worse_is_found_by_its_name():
    random = np.random.default_rng(1)
    looks, clusters = (
        random.choice(["sepia", "natural"], 3_000, p=[0.2, 0.8]),
        random.integers(-1, 14, 3_000).astype(np.int32),
    )
    for condition in ("look = 'sepia'", '"cluster" = 7', '"cluster" = -1'):
        rows = photos().with_columns(look=pl.Series(looks), cluster=pl.Series(clusters))
        is_weak = rows.select(pl.sql_expr(condition)).to_series()
        error = (pl.col("prediction") - pl.col("popularity")) * pl.when(is_weak).then(3.0).otherwise(1.0)
        found = slices(rows.with_columns(prediction=pl.col("popularity") + error), (*COLUMNS, "look", "cluster"))
        assert found.filter("is_weak").select("slice", "is_of_training_table").rows() == [(condition, False)]
