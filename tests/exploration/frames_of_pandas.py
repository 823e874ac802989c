"""Reads a table through pandas and Dask, which are in another environment: `python frames_of_pandas.py PACKAGES TASK`."""

import pickle
import sys
from pathlib import Path

sys.path.append(sys.argv[1])
sys.path.append(str(Path(__file__).parents[2]))

import dask.dataframe as dd
import polars as pl
import pyarrow as pa
from polars.testing import assert_frame_equal

from pipeline_assets.exploration import frames
from resources.lake.lake import Lake

TYPES = {
    "likes": pa.int32(),
    "posted_at": pa.timestamp("us", tz="UTC"),
    "day": pa.date32(),
    "embedding": pa.large_list(pa.float32()),
    "is_new": pa.bool_(),
}


def check(lake: Lake, choice: dict, wanted: pl.DataFrame) -> None:
    """The same rows and types in both."""
    some = frames.rows("photos", lake=lake, **choice)
    frame, parallel = some.pandas(), some.dask()
    assert isinstance(parallel, dd.DataFrame)
    assert parallel.npartitions == max(len(some.days), 1)
    computed = parallel.compute(scheduler="sync")
    for found in (frame, computed):
        assert_frame_equal(pl.from_pandas(found).sort("photo_id"), wanted)
    assert parallel.dtypes.to_dict() == computed.dtypes.to_dict() == frame.dtypes.to_dict()
    for name, dtype in TYPES.items():
        if name in frame.columns:
            found = frame[name].dtype.pyarrow_dtype
            assert found.equals(dtype) or (pa.types.is_large_list(found) and found.value_type == pa.float32()), (name, found)


def check_lazy(folder: Path, rows: pl.DataFrame) -> None:
    """Making a Dask frame reads no row: here all files are gone."""
    lake = Lake(url=folder.as_uri())
    lake.replace("photos", rows["day"].unique().to_list(), rows)
    for path in folder.rglob("*.parquet"):
        path.unlink()
    frame = frames.rows("photos", lake=lake).dask()
    try:
        frame.compute(scheduler="sync")
    except FileNotFoundError:
        return
    raise AssertionError("rows of files that are gone")


def main() -> None:
    """Check each choice."""
    path = Path(sys.argv[2])
    url, tasks = pickle.loads(path.read_bytes())  # noqa: S301
    lake = Lake(url=url)
    for choice, wanted in tasks:
        check(lake, choice, pl.read_ipc(wanted))
        print("same")
    check_lazy(path.parent / "gone", frames.rows("photos", lake=lake).polars().collect())


main()
