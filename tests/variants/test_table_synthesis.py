"""Synthetic rows: distributions and correlations kept, no row copied, and a report that says so."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp, norm

from pipeline_assets.errors import UnfitParent
from pipeline_assets.variants.recipes import generator
from pipeline_assets.variants.tables import copula, margins
from pipeline_assets.variants.tables.copies import Rows
from pipeline_assets.variants.tables.report import category_distance, compared, distribution_distance
from pipeline_assets.variants.tables.synthesis import replacement, synthetic
from tests.variants.table_frames import KEYS, users


def made(frame, keys=(), seed=1, rows=0, rare=5, common=0):
    return synthetic(frame, keys, lambda purpose: generator(seed, purpose), rows=rows, rare=rare, common=common)


@pytest.fixture(scope="module")
def real():
    return users(4000)


@pytest.fixture(scope="module")
def drawn(real):
    return made(real, KEYS)


def test_distributions_are_kept(real, drawn):
    frame, report = drawn
    assert frame.height == real.height
    for name, of_column in report["margins"].items():
        assert of_column["distance"] < 0.06, name
    assert frame["mean"].null_count() == pytest.approx(real["mean"].null_count(), rel=0.15)
    assert frame["country"].value_counts(sort=True)["country"].to_list() == ["de", "fr", "pl", "jp"]


def test_correlations_are_kept(real, drawn):
    frame, report = drawn
    assert report["correlation_difference_mean"] < 0.02
    assert report["correlation_difference_max"] < 0.1
    for one, other in (("score", "logins"), ("score", "mean"), ("posts", "logins")):
        wanted, found = (
            f.select(pl.corr(one, other, method="spearman")).item() for f in (real.drop_nulls(), frame.drop_nulls())
        )
        assert found == pytest.approx(wanted, abs=0.12), (one, other)
    paid = [f.group_by("plan").agg(pl.col("score").mean()).sort("plan")["score"].to_list() for f in (real, frame)]
    assert paid[1] == pytest.approx(paid[0], rel=0.25)


def test_nulls_go_with_what_they_went_with(real, drawn):
    frame, _ = drawn
    shares = [
        f.group_by(pl.col("posts") > 0).agg(pl.col("mean").is_null().mean()).sort("posts")["mean"] for f in (real, frame)
    ]
    assert shares[0].to_list() == [1.0, 0.0]
    assert shares[1][0] > 0.8 and shares[1][1] < 0.25


def test_no_row_is_copied(real, drawn):
    frame, report = drawn
    columns = [name for name in real.columns if name not in KEYS]
    assert frame.join(real, on=columns, how="semi", nulls_equal=True).is_empty()
    assert report["rows_copied"] == 0


def test_rows_that_are_real_ones_are_left_out():
    # Of 12 combinations only one is nobody's, and the last number tells most rows apart.
    some = [(a, b, n / 7) for n, (a, b) in enumerate([(a, b) for a in range(4) for b in range(3)] * 20)]
    real = pl.DataFrame(some, ["a", "b", "c"], orient="row")
    frame, report = made(real)
    assert frame.join(real, on=real.columns, how="semi").is_empty()
    assert report["rows_left_out"] == real.height - frame.height


def test_a_table_of_which_only_a_corner_is_nobodys_is_refused_since_it_would_say_nothing_of_the_real_one():
    some = [(a, b) for a in range(4) for b in range(3) if (a, b) != (3, 2)] * 20
    with pytest.raises(UnfitParent, match=r"distribution_lost.* a 0\.\d\d, b 0\.\d\d"):
        made(pl.DataFrame(some, ["a", "b"], orient="row"))


@pytest.mark.parametrize("value", ["1971-03-04", 51_000.0, 7, "only me", True])
@pytest.mark.parametrize("observed", [1, 4])
def test_values_that_few_rows_have_at_all_come_back_as_null(value, observed):
    column = pl.Series("birth", [value] * observed + [None] * (400 - observed))
    column = column.str.to_date() if value == "1971-03-04" else column
    other = pl.Series("x", np.random.default_rng(0).normal(size=400))
    frame, _ = made(pl.DataFrame([column, other]))
    assert frame["birth"].null_count() == frame.height == 400
    assert frame.schema["birth"] == column.dtype


def test_a_declared_value_that_few_rows_have_at_all_comes_back_as_null():
    column = pl.Series("plan", ["gold"] + [None] * 399, dtype=pl.Enum(["gold", "free"]))
    frame, _ = made(pl.DataFrame([column, pl.Series("x", np.random.default_rng(0).normal(size=400))]))
    assert frame["plan"].null_count() == 400


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        ([0] * 399 + [10**6], [0]),
        ([0] * 300 + [1] * 97 + [10**4, 10**5, 10**6], [0, 1]),
        ([-(10**6)] + [0] * 300 + [1] * 99, [0, 1]),
        ([0] * 200 + [500] * 3 + [1000] * 197, [0, 1000]),
        ([0.0] * 390 + [5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 1e6], [0.0, 7.0, (10 + 11 + 12 + 13 + 1e6) / 5]),
    ],
)
def test_numbers_that_few_rows_have_move_none_that_many_have(values, levels):
    real = pl.DataFrame({"amount": values, "x": np.random.default_rng(0).normal(size=len(values))})
    assert margins.fitted(real["amount"], rare=5).levels.tolist() == levels
    frame, report = made(real)
    assert set(frame["amount"]) <= set(levels)
    assert report["margins"]["amount"]["distance"] < 0.05


def test_an_attack_on_a_value_gains_from_copies_and_not_from_synthetic_rows(real, drawn):
    told = drawn[1]["disclosure"]
    assert told["excess"] < 0.15
    assert told["synthetic"] <= told["real"] + 0.05
    names = [name for name in real.columns if name not in KEYS]
    columns = [margins.fitted(real[name], rare=5) for name in names]
    few = real.select(names).head(600)
    copied = compared(columns, few, few, np.random.default_rng(0))["disclosure"]
    assert copied["synthetic"] > copied["real"] + 0.2
    assert copied["excess"] > 0.3


def test_rows_that_many_have_may_be_had_by_one_more():
    some = [(a, b) for a in range(4) for b in range(3)] * 20
    frame, report = made(pl.DataFrame(some, ["a", "b"], orient="row"), common=5)
    assert frame.height == 240 and report["rows_left_out"] == 0 and report["rows_copied"] == 240


def test_no_value_of_a_smooth_column_and_no_rare_category_is_repeated():
    random = np.random.default_rng(0)
    real = pl.DataFrame({"salary": random.lognormal(10, 1, 500), "city": ["here"] * 400 + ["there"] * 97 + ["only me"] * 3})
    frame, _ = made(real, rows=2000)
    assert set(frame["salary"]).isdisjoint(real["salary"])
    assert frame["salary"].max() < real["salary"].max()
    assert set(frame["city"]) == {"here", "there"}


def test_text_that_names_its_row_is_replaced():
    real = pl.DataFrame({"name": [f"person {n}" for n in range(100)], "x": np.arange(100) / 7})
    frame, report = made(real)
    assert frame["name"].str.starts_with("synthetic-").all()
    assert list(report["margins"]) == ["x"]


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        (pl.Series([4, 9]), [-1, -2, -3]),
        (pl.Series([-4, 9]), [10, 11, 12]),
        (pl.Series([4, 9], dtype=pl.UInt8), [10, 11, 12]),
        (pl.Series(["a", "b"]), ["synthetic-1", "synthetic-2", "synthetic-3"]),
        (pl.Series([1.5, 1.5]), [1.5] * 3),
        (pl.Series([None, None]), [None] * 3),
        (pl.Series([4, 126], dtype=pl.Int8), [-1, -2, -3]),
        (pl.Series([-4, 126], dtype=pl.Int8), [-5, -6, -7]),
        (pl.Series([0, 2**63 - 1]), [-1, -2, -3]),
        (pl.Series(np.array([-(2**63), 9])), [10, 11, 12]),
    ],
)
def test_keys_that_no_real_row_has(series, expected):
    new = replacement(series, 3)
    assert new.to_list() == expected and new.dtype == series.dtype


@pytest.mark.parametrize(
    "keys",
    [
        pl.Series(np.arange(-128, 128, dtype=np.int8)),
        pl.Series(np.arange(256, dtype=np.uint8)),
        pl.Series(np.array([-(2**63), 2**63 - 1])),
        pl.Series(np.array([0, 2**64 - 1], dtype=np.uint64)),
        pl.Series([1, 2]).cast(pl.Decimal(9, 2)),
    ],
    ids=str,
)
def test_keys_of_which_none_is_free_refuse_the_table(keys):
    with pytest.raises(UnfitParent, match=r"no_free_keys|unsupported_columns"):
        replacement(keys, 3)


@pytest.mark.parametrize(
    "column",
    [
        [None] * 60,
        [1.5] * 60,
        [float("nan"), float("inf"), 1.0, 2.0] * 15,
        [None, "a"] * 30,
        ["a"] * 30 + ["b"] * 30,
        [True, None] * 30,
        list(range(60)),
        pl.Series(range(60)).cast(pl.Date),
        pl.Series(range(60)).cast(pl.Time),
        pl.Series(range(60)).cast(pl.Duration("ms")),
        pl.Series(["a", "b", "c"] * 20, dtype=pl.Categorical),
        pl.Series(["a", "b", "c"] * 20, dtype=pl.Enum(["a", "b", "c", "d"])),
    ],
)
def test_odd_columns_are_drawn_too(column):
    odd = pl.Series("odd", column)
    real = pl.DataFrame([odd, pl.Series("x", np.random.default_rng(0).normal(size=60))])
    frame, report = made(real)
    assert frame.schema == real.schema and frame.height == 60
    assert report["rows_copied"] == 0


@settings(max_examples=30, deadline=None)
@given(size=st.integers(1, 9), seed=st.integers(0, 999))
def test_the_nearest_correlation_matrix_is_one(size, seed):
    matrix = np.random.default_rng(seed).uniform(-1, 1, (size, size))
    matrix = (matrix + matrix.T) / 2
    np.fill_diagonal(matrix, 1.0)
    found = copula.nearest(matrix)
    lower = copula.factor(found)
    np.testing.assert_allclose(lower @ lower.T, found, atol=1e-6)
    np.testing.assert_allclose(np.diag(found), 1.0)
    assert np.linalg.eigvalsh(found).min() > 0
    values, vectors = copula.spectrum(matrix)
    np.testing.assert_allclose((vectors * values) @ vectors.T, matrix, atol=1e-10)


def test_a_true_correlation_matrix_is_its_own_nearest():
    matrix = np.array([[1.0, 0.6, -0.3], [0.6, 1.0, 0.2], [-0.3, 0.2, 1.0]])
    np.testing.assert_allclose(copula.nearest(matrix), matrix, atol=1e-9)


def test_scores_and_correlations_leave_the_unknown_out():
    values = np.array([[3.0, 1.0, np.nan, 1.0], [1.0, 2.0, 3.0, 4.0]])
    scores = copula.scores(values)
    np.testing.assert_allclose(scores[0, [0, 1, 3]], norm.ppf([2.5 / 3, 1 / 3, 1 / 3]))
    assert np.isnan(scores[0, 2])
    random = np.random.default_rng(0)
    one, other = random.normal(size=200), random.normal(size=200)
    one[:50] = np.nan
    found = copula.correlations(np.stack([one, other]))
    assert found[0, 1] == pytest.approx(np.corrcoef(one[50:], other[50:])[0, 1])


def test_a_margin_ends_its_steps_where_their_shares_do():
    margin = margins.fitted(pl.Series("x", [1] * 50 + [2] * 30 + [7] * 20), rare=5)
    found = margin.drawn(norm.ppf(np.array([0.001, 0.49, 0.51, 0.79, 0.81, 0.999])))
    assert found.tolist() == [1, 1, 2, 2, 7, 7]


def test_numbers_that_few_rows_have_are_drawn_as_the_mean_of_neighbours():
    margin = margins.fitted(pl.Series("x", [0] * 50 + [1] * 3 + [2] * 2 + [3] * 40 + [90, 100]), rare=5)
    assert margin.levels.tolist() == [0, 1, 3]
    margin = margins.fitted(pl.Series("x", [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]), rare=5)
    assert margin.levels.tolist() == [4.0]


def test_distances_are_those_of_the_text_book():
    random = np.random.default_rng(0)
    one, other = random.normal(size=300), random.normal(0.4, 1, size=200)
    assert distribution_distance(one, other) == pytest.approx(ks_2samp(one, other).statistic)
    assert distribution_distance(np.array([np.nan, 1.0]), np.array([1.0, 1.0])) == 0.5
    assert category_distance(pl.Series(["a", "a", "b", None]), pl.Series(["a", "c", "b", "b"])) == pytest.approx(0.5)


def test_rows_are_found_again_whatever_is_in_them():
    rows = {
        "number": [1, 2, None, 4, 4],
        "float": [0.5, None, 0.0, float("inf"), float("inf")],
        "text": pl.Series(["a", "b", None, "c", "c"], dtype=pl.Categorical),
        "plan": pl.Series(["x", "y", None, "x", "x"], dtype=pl.Enum(["y", "x"])),
    }
    frame = pl.DataFrame(rows)
    other = pl.concat(
        [frame[::-1].with_columns(pl.col("number") + 1), frame.with_columns(pl.col("text").cast(pl.Categorical))]
    )
    assert Rows.of(frame).found_in(other).tolist() == [2, 5, 6, 7, 8, 9]
    assert Rows.of(frame, fewer_than=2).found_in(other).tolist() == [2, 5, 6, 7]
    assert Rows.of(frame).found_in(frame[:0]).size == Rows.of(frame[:0]).found_in(frame).size == 0


def test_the_report_finds_copies_and_rows_that_are_too_near():
    real = users(2000).drop(KEYS)
    columns = [margins.fitted(series, rare=5) for series in real]
    same = compared(columns, real, real.sample(1000, seed=1), generator(1))
    assert same["rows_copied"] == 1000
    assert same["nearest"]["synthetic_median"] < same["nearest"]["real_median"]
    assert same["nearest"]["closer_share"] > 0.3
