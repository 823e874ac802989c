"""The split of users: pinned, near its fractions, and blind to all but the user."""

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import given

from pipeline_assets.training.split import split_of, splitmix64


def splits(user_ids: list[int], fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)) -> list[str]:
    frame = pl.LazyFrame({"user_id": user_ids}, schema={"user_id": pl.Int64})
    return frame.select(split_of(pl.col("user_id"), fractions)).collect(engine="streaming").to_series().to_list()


def splitmix64_in_python(state: int) -> int:
    mask = 2**64 - 1
    z = (state + 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=50))
def test_the_hash_is_splitmix64_for_every_user_id(user_ids):
    hashed = pl.DataFrame({"user_id": user_ids}, schema={"user_id": pl.Int64}).select(splitmix64(pl.col("user_id")))
    assert hashed.to_series().to_list() == [splitmix64_in_python(user_id) for user_id in user_ids]


def test_the_published_first_output_of_seed_zero_comes_out():
    assert pl.select(splitmix64(pl.lit(0))).item() == 0xE220A8397B1DCDAF


def test_known_users_stay_where_they_have_always_been():
    others = [1, 2, 12345, 5, 6, 7]
    assert splits([0, -1, *others]) == ["validation", "validation", *["train"] * len(others)]


def test_the_fractions_are_kept_within_three_standard_deviations():
    found = pl.Series(splits(list(range(100_000)))).value_counts().sort("count")["count"].to_list()
    assert found[2] == pytest.approx(80_000, abs=380)
    assert found[0] == pytest.approx(10_000, abs=285)
    assert found[1] == pytest.approx(10_000, abs=285)


def test_a_larger_test_share_takes_users_from_validation_and_leaves_training_alone():
    users = list(range(1_000))
    pairs = set(zip(splits(users), splits(users, (0.8, 0.05, 0.15)), strict=True))
    assert pairs == {("train", "train"), ("validation", "validation"), ("validation", "test"), ("test", "test")}


def test_a_share_of_nothing_is_empty():
    assert set(splits(list(range(1_000)), (1.0, 0.0, 0.0))) == {"train"}


@pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.2), (1.2, -0.1, -0.1), (0.0, 0.0, 0.0)])
def test_fractions_that_are_none_are_refused(fractions):
    with pytest.raises(ValueError, match="add up to 1"):
        split_of(pl.col("user_id"), fractions)
