from pathlib import Path

import polars as pl
import pytest

from benchmarks.join import check_equal


def test_each_table_is_compared_with_darkrooms_own(tmp_path: Path) -> None:
    ours = pl.DataFrame({"photo_id": [1, 2], "split": ["train", "test"]})
    ours.write_parquet(tmp_path / "darkroom.parquet")
    ours.drop("split").write_parquet(tmp_path / "without.parquet")
    ours.write_parquet(tmp_path / "with.parquet")
    ours.with_columns(split=pl.lit("train")).write_parquet(tmp_path / "other.parquet")
    check_equal(tmp_path, ["without", "with"])
    with pytest.raises(AssertionError):
        check_equal(tmp_path, ["without", "other"])
