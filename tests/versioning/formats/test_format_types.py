"""Any frame of the types that Darkroom's tables have goes through each format and comes back."""

import json
import math
from contextlib import suppress
from datetime import UTC, date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline_assets.errors import ExportRefused
from pipeline_assets.versioning.formats import FORMATS, column_types
from pipeline_assets.versioning.formats.example import BadExample, decode, encode
from pipeline_assets.versioning.formats.feather import FeatherShard
from pipeline_assets.versioning.formats.hdf5 import Hdf5Shard
from pipeline_assets.versioning.formats.incoming import Batch, Reading
from pipeline_assets.versioning.formats.parquet import ParquetShard
from pipeline_assets.versioning.formats.tfrecord import TfrecordShard
from pipeline_assets.versioning.formats.webdataset import Numbering

SHARDS: dict[str, tuple[str, Any]] = {
    "parquet": (".parquet", ParquetShard),
    "feather": (".feather", FeatherShard),
    "hdf5": (".h5", Hdf5Shard),
    "tfrecord": (".tfrecord", TfrecordShard),
    "webdataset": (".tar", lambda path, schema: Numbering().open(path, schema)),
}
TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20)
FLOAT32 = st.floats(width=32)
INTEGERS = {
    dtype: st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for dtype, bits in ((pl.Int8, 8), (pl.Int16, 16), (pl.Int32, 32), (pl.Int64, 64))
}
CELLS: dict[Any, st.SearchStrategy[Any]] = {
    **INTEGERS,
    pl.Boolean: st.booleans(),
    pl.String: TEXT,
    pl.Float32: FLOAT32,
    pl.Date: st.dates(date(1, 1, 1), date(9999, 12, 31)),
    pl.Datetime("us", "UTC"): st.datetimes(timezones=st.just(UTC)),
    pl.Datetime("us"): st.datetimes(),
    pl.List(pl.Float32): st.lists(FLOAT32, max_size=3),
    pl.List(pl.Int32): st.lists(INTEGERS[pl.Int32], max_size=3),
    pl.List(pl.String): st.lists(TEXT, max_size=3),
}


@st.composite
def frames(draw: st.DrawFn) -> pl.DataFrame:
    """Up to three columns beside a number, up to six rows, nulls anywhere."""
    height = draw(st.integers(1, 6))
    columns = [pl.Series("n", range(height), pl.Int64)]
    for at, dtype in enumerate(draw(st.lists(st.sampled_from(list(CELLS)), max_size=3))):
        cells = draw(st.lists(st.none() | CELLS[dtype], min_size=height, max_size=height))
        columns.append(pl.Series(f"c{at}", cells, dtype))
    return pl.DataFrame(columns)


def through(kind: str, frame: pl.DataFrame, cuts: tuple[int, ...]) -> pl.DataFrame:
    """Write the rows in parts of these sizes, and read them back."""
    ending, opened = SHARDS[kind]
    with TemporaryDirectory() as folder:
        shard = opened(Path(folder) / f"set-0{ending}", frame.schema)
        try:
            for size in (*cuts, frame.height):
                shard.write(frame.head(size))
                frame = frame.slice(size)
        finally:
            shard.close()
        columns = {name: column_types.type_name(dtype) for name, dtype in frame.schema.items()}
        (Path(folder) / "_darkroom.json").write_text(json.dumps({"columns": columns}))
        read = list(FORMATS[kind].load().batches(Path(folder), Reading()))
    assert all(isinstance(batch, Batch) for batch in read), read
    return pl.concat([batch.rows for batch in read])


@pytest.mark.parametrize("kind", SHARDS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(frame=frames(), cut=st.integers(0, 3))
def test_rows_of_any_type_come_back_equal(kind: str, frame: pl.DataFrame, cut: int) -> None:
    assert_frame_equal(through(kind, frame, (cut,)), frame, check_exact=True)


@pytest.mark.parametrize("dtype", CELLS)
def test_a_type_is_told_from_its_name(dtype: Any) -> None:
    name = column_types.type_name(pl.Series([], dtype=dtype).dtype)
    assert name is not None
    assert column_types.type_of(name) == dtype


@pytest.mark.parametrize("name", ["", "Int7", "List(List(Int8))", "List(Date)", "Datetime(ms)", "__import__('os')"])
def test_a_name_of_no_type_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no type of a column"):
        column_types.type_of(name)


@pytest.mark.parametrize("kind", ["hdf5", "tfrecord", "webdataset"])
def test_a_null_within_a_list_is_refused_where_there_is_no_place_for_it(kind: str) -> None:
    with pytest.raises(ExportRefused, match="no nulls within lists"):
        through(kind, pl.DataFrame({"x": [[1.0, None]]}, schema={"x": pl.List(pl.Float32)}), ())


@pytest.mark.parametrize("kind", ["hdf5", "tfrecord", "webdataset"])
def test_a_type_without_counterpart_is_refused_by_name(kind: str) -> None:
    with pytest.raises(ExportRefused, match=r"the column spent of type Duration.*parquet"):
        through(kind, pl.DataFrame({"spent": [timedelta(days=1)]}), ())


def test_lists_that_are_not_of_one_length_turn_a_matrix_into_lists() -> None:
    frame = pl.DataFrame({"x": [[1.0, 2.0], [3.0, 4.0], None, [5.0], []]}, schema={"x": pl.List(pl.Float32)})
    assert_frame_equal(through("hdf5", frame, (2, 1)), frame)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_example_or_said_to_be_none(data: bytes) -> None:
    with suppress(BadExample):
        decode(data)


@given(
    st.dictionaries(
        TEXT,
        st.tuples(st.just(1), st.lists(st.binary(max_size=9), max_size=3))
        | st.tuples(st.just(2), st.lists(FLOAT32.filter(math.isfinite), max_size=3))
        | st.tuples(st.just(3), st.lists(INTEGERS[pl.Int64], max_size=3)),
        max_size=4,
    )
)
def test_an_example_comes_back(features: dict[str, tuple[int, list[Any]]]) -> None:
    read = decode(encode(features))
    assert {name: (kind, list(values)) for name, (kind, values) in read.items()} == features
