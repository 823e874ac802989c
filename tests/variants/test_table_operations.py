"""What each operation does to a table."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal, assert_series_equal
from polars.testing.parametric import dataframes

from pipeline_assets.errors import UnfitParent
from pipeline_assets.variants.tables.draft import Draft
from pipeline_assets.variants.tables.operations import TABLES
from tests.variants.table_frames import KEYS, users

LARGE = users(20_000)
NEVER_CHANGE = [name for name in TABLES if name.startswith("delete")]


def applied(name, frame, keys=(), seed=1, **parameters):
    draft = Draft(frame, tuple(keys), seed)
    model = TABLES[name].parameters.model_validate(parameters)
    TABLES[name].function(draft, **model.model_dump())
    return draft


def deleted_share(draft, name):
    return draft.deleted[name].sum() / draft.frame.height


def test_completely_at_random_deletes_the_share_and_nothing_tells_which():
    draft = applied("delete_mcar", LARGE, KEYS, share=0.3)
    assert deleted_share(draft, "score") == pytest.approx(0.3, abs=0.02)
    true = LARGE["score"].to_numpy()
    gone = draft.deleted["score"]
    assert abs(true[gone].mean() - true[~gone].mean()) < 0.05 * true.std()


def test_at_random_given_a_column_follows_that_column_and_not_the_cell():
    draft = applied("delete_mar", LARGE, KEYS, share=0.3, by="is_new", strength=0.9)
    low, high = (draft.deleted["country"][LARGE["is_new"].to_numpy() == value].mean() for value in (False, True))
    # Ranks of 80 % and 20 % that are equal: the middle of the lower 80 % is at 0.4, that of the others at 0.9.
    assert low == pytest.approx(0.3 * (1 + 0.9 * (2 * 0.4 - 1)), abs=0.02)
    assert high == pytest.approx(0.3 * (1 + 0.9 * (2 * 0.9 - 1)), abs=0.03)
    assert "is_new" not in draft.deleted
    assert draft.reports[0]["by"] == "is_new"


def test_not_at_random_follows_the_cell_itself():
    draft = applied("delete_mnar", LARGE, KEYS, share=0.2, strength=1.0)
    ranks = LARGE["score"].rank().to_numpy() / LARGE.height
    gone = draft.deleted["score"]
    assert gone.mean() == pytest.approx(0.2, abs=0.015)
    assert gone[ranks > 0.9].mean() == pytest.approx(0.38, abs=0.03)
    assert gone[ranks < 0.1].mean() == pytest.approx(0.02, abs=0.015)


def test_a_negative_strength_turns_it_round():
    draft = applied("delete_mnar", LARGE, KEYS, share=0.2, strength=-1.0, columns=["score"])
    true = LARGE["score"].to_numpy()
    assert true[draft.deleted["score"]].mean() < true.mean()
    assert list(draft.deleted) == ["score"]


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    frame=dataframes(min_cols=1, max_cols=5, min_size=1, max_size=30, excluded_dtypes=[pl.Object]),
    name=st.sampled_from(NEVER_CHANGE),
    seed=st.integers(0, 99),
)
def test_deleting_changes_what_the_mask_says_and_nothing_else(frame, name, seed):
    try:
        draft = applied(name, frame, seed=seed, share=0.4)
    except UnfitParent as unfit:
        assert unfit.reason == "no_columns"
        return
    mask = draft.mask()
    assert mask.columns == frame.columns and mask.height == frame.height
    for column in frame.columns:
        marks = mask[column]
        assert frame[column].filter(marks).null_count() == 0
        assert draft.frame[column].filter(marks).null_count() == marks.sum()
        assert_series_equal(draft.frame[column].filter(~marks), frame[column].filter(~marks))


@pytest.mark.parametrize("name", sorted(TABLES))
def test_keys_stay_or_are_made_anew(name):
    frame = users(300)
    made = applied(name, frame, KEYS).frame
    assert made["day"].n_unique() == 1 and made["day"][0] == frame["day"][0]
    if name == "synthesize":
        assert set(made["user_id"]).isdisjoint(frame["user_id"]) and made["user_id"].is_unique().all()
    else:
        assert_series_equal(made["user_id"], frame["user_id"])


@pytest.mark.parametrize("name", sorted(TABLES))
def test_the_schema_stays(name):
    assert applied(name, users(300), KEYS).frame.schema == users(300).schema


@pytest.mark.parametrize("name", sorted(set(TABLES) - {"synthesize", "delete_mar"}))
def test_a_column_is_changed_in_the_same_way_whatever_else_there_is(name):
    column = "country" if name == "swap_categories" else "score"
    alone = applied(name, LARGE.select(column)).frame
    beside = applied(name, LARGE, KEYS).frame
    assert_frame_equal(alone, beside.select(column))
    assert not alone[column].equals(LARGE[column])


def test_jitter_moves_numbers_by_its_scale_within_their_range():
    frame = pl.DataFrame(
        {
            "normal": np.random.default_rng(0).normal(5, 2, 20_000),
            "whole": np.random.default_rng(1).integers(0, 200, 20_000).astype(np.uint8),
            "flag": np.random.default_rng(2).random(20_000) < 0.5,
        }
    )
    made = applied("jitter", frame, scale=0.1).frame
    assert (made["normal"] - frame["normal"]).std() == pytest.approx(0.2, rel=0.05)
    assert (made["whole"].cast(pl.Int16) - frame["whole"].cast(pl.Int16)).std() == pytest.approx(5.8, rel=0.05)
    for name in ("normal", "whole"):
        assert made[name].min() >= frame[name].min() and made[name].max() <= frame[name].max()
    assert made["flag"].equals(frame["flag"])


@pytest.mark.parametrize(
    "series",
    [
        pl.Series("x", [None, 1.0, float("nan"), float("inf"), -float("inf"), 2.0]),
        pl.Series("x", [1.0, None, 1.0]),
        pl.Series("x", [5, None]),
        pl.Series("x", [None, None], dtype=pl.Float64),
        pl.Series("x", [2**63 - 1, -(2**63), 0, None]),
        pl.Series("x", [2**64 - 1, 0, None], dtype=pl.UInt64),
        pl.Series("x", [2**62, 2**62 + 1, 2**62 + 2]),
        pl.Series("x", [3e38, -3e38, 1.0], dtype=pl.Float32),
        pl.Series("x", [1.7e308, -1.7e308, 1.0]),
        pl.Series("x", [127, -128], dtype=pl.Int8),
    ],
)
def test_jitter_leaves_what_is_no_number_and_stays_in_range(series):
    made = applied("jitter", series.to_frame(), scale=1.0).frame["x"]
    assert made.dtype == series.dtype
    true = series.drop_nulls()
    assert made.null_count() == series.null_count()
    if series.dtype.is_float():
        odd = ~series.is_finite().fill_null(True)
        assert_series_equal(made.filter(odd), series.filter(odd))
        assert made.filter(~odd).drop_nulls().is_finite().all()
    elif true.len():
        assert true.min() <= made.min() and made.max() <= true.max()


def test_swapping_keeps_the_frequencies_and_the_nulls():
    frame = LARGE.with_columns(pl.when(pl.col("logins") > 3).then("country").alias("country"))
    made = applied("swap_categories", frame, KEYS, share=0.5).frame
    for name in ("country", "plan", "is_new"):
        assert_frame_equal(made[name].value_counts(sort=True), frame[name].value_counts(sort=True), check_row_order=False)
        assert 0.05 < (made[name] != frame[name]).mean() < 0.5
        assert made[name].is_null().equals(frame[name].is_null())
    assert made["score"].equals(frame["score"])


def test_few_whole_numbers_are_categories():
    frame = pl.DataFrame({"stars": [1, 2, 3, 4, 5] * 50, "id": range(250)})
    made = applied("swap_categories", frame, share=0.5).frame
    assert not made["stars"].equals(frame["stars"]) and made["id"].equals(frame["id"])


@pytest.mark.parametrize(
    ("name", "frame", "parameters", "reason"),
    [
        ("delete_mcar", {"user_id": [1, 2]}, {}, "no_columns"),
        ("delete_mcar", {"user_id": [1], "x": [1]}, {"columns": ["y"]}, "no_such_column"),
        ("delete_mcar", {"user_id": [1], "x": [1]}, {"columns": ["user_id"]}, "no_such_column"),
        ("delete_mar", {"user_id": [1], "x": [1], "y": [1]}, {"by": "z"}, "no_such_column"),
        ("delete_mar", {"user_id": [1, 2], "x": [1, None], "y": [3, 3]}, {}, "no_columns"),
        ("delete_mar", {"user_id": [1, 2], "x": [1, 2]}, {}, "no_columns"),
        ("delete_mnar", {"user_id": [1], "x": [[1]]}, {}, "no_columns"),
        ("jitter", {"user_id": [1], "x": ["a"]}, {}, "no_columns"),
        ("jitter", {"user_id": [1], "x": ["a"], "y": [1]}, {"columns": ["x"]}, "no_such_column"),
        ("swap_categories", {"user_id": [1], "x": [1.5]}, {}, "no_columns"),
        ("synthesize", {"user_id": [1], "x": [1]}, {}, "too_few_rows"),
        ("synthesize", {"user_id": range(30), "x": [[1]] * 30}, {}, "unsupported_columns"),
        ("synthesize", {"user_id": range(30)}, {}, "no_columns"),
        ("synthesize", {"user_id": range(30), "x": [True, False] * 15}, {}, "only_copies"),
    ],
)
def test_what_can_not_be_done_has_its_reason(name, frame, parameters, reason):
    with pytest.raises(UnfitParent) as raised:
        applied(name, pl.DataFrame(frame), ["user_id"], **parameters)
    assert raised.value.reason == reason and raised.value.detail
