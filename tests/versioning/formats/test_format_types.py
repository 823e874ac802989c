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
from pipeline_assets.versioning.formats import FORMATS, column_types, json_cells
from pipeline_assets.versioning.formats.feather import FeatherShard
from pipeline_assets.versioning.formats.hdf5.format import Hdf5Shard
from pipeline_assets.versioning.formats.incoming import Batch, Reading
from pipeline_assets.versioning.formats.parquet import ParquetShard
from pipeline_assets.versioning.formats.tfrecord.example import BadExample, decode, encode
from pipeline_assets.versioning.formats.tfrecord.format import TfrecordShard
from pipeline_assets.versioning.formats.webdataset.format import Numbering

SHARDS: dict[str, tuple[str, Any]] = {
    "parquet": (".parquet", ParquetShard),
    "feather": (".feather", FeatherShard),
    "hdf5": (".h5", Hdf5Shard),
    "tfrecord": (".tfrecord", TfrecordShard),
    "webdataset": (".tar", lambda path, schema: Numbering().open(path, schema)),
}
TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20)
NAMES = st.text(st.sampled_from("ab./% é\n"), max_size=5)
"""Of columns; none has a NUL, since Arrow has none."""
FLOAT32 = st.floats(width=32)
INTEGERS = {
    dtype: st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for dtype, bits in ((pl.Int8, 8), (pl.Int16, 16), (pl.Int32, 32), (pl.Int64, 64))
}
CELLS: dict[Any, st.SearchStrategy[Any]] = {
    **INTEGERS,
    pl.UInt8: st.integers(0, 2**8 - 1),
    pl.UInt64: st.integers(0, 2**64 - 1),
    pl.List(pl.UInt64): st.lists(st.integers(0, 2**64 - 1), max_size=3),
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


@pytest.mark.slow
@pytest.mark.parametrize("kind", SHARDS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(frame=frames(), cut=st.integers(0, 3))
def test_rows_of_any_type_come_back_equal(kind: str, frame: pl.DataFrame, cut: int) -> None:
    assert_frame_equal(through(kind, frame, (cut,)), frame, check_exact=True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SHARDS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    days=st.lists(st.none() | st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=4),
    moments=st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=4),
    name=NAMES,
    zone=st.sampled_from([None, "UTC"]),
)
def test_dates_before_the_year_1_and_odd_names_come_back(
    kind: str, days: list[int | None], moments: list[int | None], name: str, zone: str | None
) -> None:
    height = min(len(days), len(moments))
    day = pl.Series(days[:height], dtype=pl.Int32).cast(pl.Date)
    frame = pl.DataFrame({name: day, f"{name}2": pl.Series(moments[:height]).cast(pl.Int64).cast(pl.Datetime("us", zone))})
    assert_frame_equal(through(kind, frame, ()), frame)


@pytest.mark.parametrize("kind", SHARDS)
def test_a_text_with_a_nul_comes_back_or_its_column_is_named(kind: str) -> None:
    frame = pl.DataFrame({"title": ["a\0b"], "tags": [["\0"]]})
    if kind != "hdf5":
        assert_frame_equal(through(kind, frame, ()), frame)
        return
    for name in ("title", "tags"):
        with pytest.raises(ExportRefused, match=f"the column {name} has some"):
            through(kind, frame.select(name), ())


@pytest.mark.parametrize(
    ("text", "day"),
    [("0000-01-01", -719_528), ("-0001-12-31", -719_529), ("+10000-01-01", 2_932_897), ("1970-01-01", 0)],
)
def test_a_day_is_written_as_iso_8601_has_it(text: str, day: int) -> None:
    [cell] = json_cells.cells(pl.DataFrame({"day": pl.Series([day], dtype=pl.Int32).cast(pl.Date)}))
    assert cell == {"day": text}


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01 00:00:01", 10**6),
        ("1970-01-02", 86_400 * 10**6),
        ("0000-01-01T00:00:00.000001Z", -719_528 * 86_400 * 10**6 + 1),
    ],
)
def test_a_time_of_another_tool_is_read_as_iso_8601_has_it(text: str, microseconds: int) -> None:
    found = json_cells.from_json("at", [text], pl.Datetime("us", "UTC"))
    assert found.to_physical().to_list() == [microseconds]


@pytest.mark.parametrize("dtype", CELLS)
def test_a_type_is_told_from_its_name(dtype: Any) -> None:
    name = column_types.type_name(pl.Series([], dtype=dtype).dtype)
    assert name is not None
    assert column_types.type_of(name) == dtype


@pytest.mark.parametrize("name", ["", "Int7", "List(List(Int8))", "List(Date)", "Datetime(ms)", "__import__('os')"])
def test_a_name_of_no_type_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no column type"):
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
