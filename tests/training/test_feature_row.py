"""One photo's feature row equals the frame's, to the bit, for any values."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.errors import SchemaMismatch
from pipeline_assets.training.model.feature_matrix import COLUMNS, features
from pipeline_assets.training.model.feature_row import feature_row
from pipeline_assets.training.schemas import TrainingTable

TYPES = {name: TrainingTable.create_empty().schema[name] for name in COLUMNS}
COUNT, SINGLE = st.integers(0, 2**31 - 1), st.floats(0, 1e6, width=32)
VALUES = st.fixed_dictionaries(
    {
        **dict.fromkeys(COLUMNS, COUNT),
        "posted_hour": st.integers(0, 23),
        "posted_weekday": st.integers(1, 7),
        "has_location": st.booleans(),
        "followers_at_post": st.none() | st.integers(0, 2**63 - 1),
        "mean_popularity_30d": st.none() | SINGLE,
        **dict.fromkeys(("brightness", "contrast", "saturation", "colourfulness", "sharpness", "aspect"), SINGLE),
    }
)


@given(VALUES)
def test_a_row_equals_that_of_a_frame(values: dict[str, float | None]) -> None:
    frame = pl.DataFrame([values], schema=TYPES, orient="row")
    assert np.array_equal(feature_row(values), features(frame))


@pytest.mark.parametrize("column", ["posted_hour", "posted_weekday"])
def test_every_hour_and_weekday_is_equal(column: str) -> None:
    plain = {**dict.fromkeys(COLUMNS, 1), "has_location": True}
    for value in range(1, 8) if column == "posted_weekday" else range(24):
        values = {**plain, column: value}
        assert np.array_equal(feature_row(values), features(pl.DataFrame([values], schema=TYPES, orient="row")))


def test_a_value_that_is_not_finite_is_named() -> None:
    with pytest.raises(SchemaMismatch, match="brightness"):
        feature_row({**dict.fromkeys(COLUMNS, 1), "brightness": float("inf")})
