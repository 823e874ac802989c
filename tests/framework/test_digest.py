"""Digests: what must not change them, and what must."""

import io
import json as a_module
import os
import random as another_module
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.framework.digest import code_digest, condense, rows_digest

SCHEMA = {
    "day": pl.Date,
    "key": pl.String,
    "size_bytes": pl.Int64,
    "share": pl.Float32,
    "at": pl.Datetime("us", "UTC"),
    "ok": pl.Boolean,
    "embedding": pl.List(pl.Float32),
    "labels": pl.List(pl.String),
}
KEY = ["day", "key"]
WRITTEN = "d0e22997"
"""Beginning of the digest of `rows()`, so that a change of the canonical layout is noticed: it changes every version."""

floats = st.floats(width=32, allow_nan=False)
row = st.fixed_dictionaries(
    {
        "day": st.dates(date(2026, 1, 1), date(2026, 1, 3)),
        "key": st.text(max_size=3),
        "size_bytes": st.none() | st.integers(0, 3),
        "share": st.none() | floats,
        "at": st.none()
        | st.datetimes(timezones=st.just(UTC), min_value=datetime(2000, 1, 1), max_value=datetime(2030, 1, 1)),  # noqa: DTZ001
        "ok": st.none() | st.booleans(),
        "embedding": st.none() | st.lists(st.none() | floats, max_size=3),
        "labels": st.none() | st.lists(st.none() | st.text(max_size=2), max_size=3),
    }
)
tables = st.lists(row, max_size=9, unique_by=lambda one: (one["day"], one["key"]))


def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA)


def rows() -> pl.DataFrame:
    """Two rows, with nulls at every depth."""
    first = {
        "day": date(2026, 1, 1),
        "key": "a",
        "size_bytes": 1,
        "share": 0.5,
        "at": datetime(2026, 1, 1, tzinfo=UTC),
        "ok": True,
    }
    second = {"day": date(2026, 1, 1), "key": "b", "labels": ["x", None], "embedding": []}
    return frame([{**first, "embedding": [1.0, None], "labels": None}, second])


@pytest.mark.slow
@settings(deadline=None)
@given(tables, st.randoms(), st.integers(1, 4))
def test_order_of_rows_and_columns_chunks_and_slices_leave_no_trace(
    found: list[dict[str, Any]], random: Any, size: int
) -> None:
    digest = rows_digest(frame(found), KEY)
    shuffled = random.sample(found, len(found))
    chunks = [frame(shuffled[start : start + size]) for start in range(0, len(shuffled), size)]
    in_chunks = pl.concat([frame([]), *chunks], rechunk=False).select(random.sample(list(SCHEMA), len(SCHEMA)))
    sliced = pl.concat([frame(found[:1]), frame(found)]).slice(len(found[:1]))
    assert rows_digest(in_chunks, KEY) == digest
    assert rows_digest(sliced, KEY) == digest


@pytest.mark.slow
@settings(deadline=None)
@given(tables, tables)
def test_different_rows_have_different_digests(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> None:
    same = frame(one).sort(KEY).equals(frame(other).sort(KEY))
    assert (rows_digest(frame(one), KEY) == rows_digest(frame(other), KEY)) == same


def test_a_round_trip_through_parquet_and_ipc_leaves_no_trace(tmp_path: Path) -> None:
    rows().write_parquet(tmp_path / "rows.parquet", compression="zstd")
    rows().write_ipc(tmp_path / "rows.arrow", compression="lz4")
    assert rows_digest(pl.read_parquet(tmp_path / "rows.parquet"), KEY) == rows_digest(rows(), KEY)
    assert rows_digest(pl.read_ipc(tmp_path / "rows.arrow"), KEY) == rows_digest(rows(), KEY)


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(
    found=tables,
    compression=st.sampled_from(["none", "snappy", "zstd"]),
    group=st.integers(1, 5),
    has_dictionary=st.booleans(),
    version=st.sampled_from(["1.0", "2.6"]),
    pages=st.sampled_from(["1.0", "2.0"]),
)
def test_however_parquet_encodes_the_rows_their_digest_is_the_same(
    found: list[dict[str, Any]], compression: str, group: int, has_dictionary: bool, version: str, pages: str
) -> None:
    written = io.BytesIO()
    pq.write_table(
        frame(found).to_arrow(),
        written,
        compression=compression,
        row_group_size=group,
        use_dictionary=has_dictionary,
        version=version,
        data_page_version=pages,
        coerce_timestamps="us",
    )
    written.seek(0)
    back = pl.read_parquet(written).cast(SCHEMA)  # type: ignore[arg-type]  # Parquet 1.0 has no time zones of its own
    assert rows_digest(back, KEY) == rows_digest(frame(found), KEY)


@pytest.mark.slow
@pytest.mark.parametrize(
    "host",
    [
        {"PYTHONHASHSEED": "0", "TZ": "UTC"},
        {"PYTHONHASHSEED": "7", "TZ": "Pacific/Kiritimati", "LC_ALL": "C", "POLARS_MAX_THREADS": "1"},
    ],
)
def test_another_process_time_zone_locale_or_number_of_threads_finds_the_same_digest(host: dict[str, str]) -> None:
    script = "import test_digest as t; print(t.rows_digest(t.rows(), t.KEY), t.code_digest([t.frame, t.another_module]))"
    folder = Path(__file__)
    environment = {**os.environ, **host, "PYTHONPATH": f"{folder.parents[2]}:{folder.parent}"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [rows_digest(rows(), KEY), code_digest([frame, another_module])]


def test_the_digest_of_known_rows_is_what_it_was_when_this_layout_was_fixed() -> None:
    assert rows_digest(rows(), KEY).startswith(WRITTEN)


NULLS_LIKE_A_DASH = [1, 2, None, 3, None, None, 4, None]
"""Packed, the nulls of these eight rows are the byte of `-`."""


LISTS = pl.List(pl.Int64)


@pytest.mark.parametrize(
    ("one", "other", "dtype"),
    [
        pytest.param([1, None], [1, 0], pl.Int64, id="null and zero"),
        pytest.param(NULLS_LIKE_A_DASH, [n or 0 for n in NULLS_LIKE_A_DASH], pl.Int64, id="many nulls and zeros"),
        pytest.param(["", None], [None, ""], pl.String, id="null and empty text"),
        pytest.param(["ab", "c"], ["a", "bc"], pl.String, id="where texts end"),
        pytest.param([[1], [2, 3]], [[1, 2], [3]], LISTS, id="where lists end"),
        pytest.param([[], None], [None, []], LISTS, id="null and empty list"),
        pytest.param([[None]], [[]], LISTS, id="list of null and empty list"),
        pytest.param([[None]], [None], LISTS, id="list of null and null"),
        pytest.param([1], [1, 1], pl.Int64, id="a row twice"),
    ],
)
def test_values_that_differ_have_another_digest(one: list[Any], other: list[Any], dtype: pl.DataType) -> None:
    def digest(values: list[Any]) -> str:
        return rows_digest(pl.DataFrame({"k": pl.Series(values, dtype=dtype)}).with_row_index("n"), ["n"])

    assert digest(one) != digest(other)


@pytest.mark.parametrize(
    "other",
    [
        pl.DataFrame({"l": [1]}),
        pl.DataFrame({"k": [1]}, schema={"k": pl.Int32}),
        pl.DataFrame({"k": [1.0]}),
        pl.DataFrame({"k": [True]}),
        pl.DataFrame({"k": [1], "l": [None]}, schema={"k": pl.Int64, "l": pl.Int64}),
        pl.DataFrame({"k": []}, schema={"k": pl.Int64}),
    ],
)
def test_names_types_and_columns_count(other: pl.DataFrame) -> None:
    assert rows_digest(other, ["k"]) != rows_digest(pl.DataFrame({"k": [1]}), ["k"])


def test_the_digest_of_no_rows_depends_on_names_and_types_alone() -> None:
    empty = pl.DataFrame(schema=SCHEMA)
    other_type = empty.with_columns(pl.col("size_bytes").cast(pl.Int32))
    digests = [rows_digest(frame, ["day"]) for frame in (empty, empty, other_type, empty.rename({"ok": "fine"}))]
    assert digests[0] == digests[1] == "81b82b6de917e4e0b56478264473f23aa96d4ee490ce8e8036322f56bbc5bc91"
    assert len(set(digests)) == 3
    assert rows_digest(empty.select(reversed(list(SCHEMA))), ["key"]) == digests[0]
    assert rows_digest(other_type, ["day"], exclude=["size_bytes"]) == rows_digest(empty, ["day"], exclude=["size_bytes"])


def test_the_bits_of_a_float_do_not_count_where_its_value_is_the_same() -> None:
    quiet, signed = pl.Series([float("nan"), 0.0]), pl.Series([-float("nan"), -0.0])
    assert rows_digest(pl.DataFrame({"k": quiet}), []) == rows_digest(pl.DataFrame({"k": signed}), [])


def test_excluded_columns_do_not_count() -> None:
    timed = rows().with_columns(seconds=pl.Series([1.0, 2.0]))
    assert rows_digest(timed, KEY, exclude=["seconds"]) == rows_digest(rows(), KEY)
    assert rows_digest(timed, KEY) != rows_digest(rows(), KEY)


@pytest.mark.parametrize("dtype", [pl.Struct({"a": pl.Int64}), pl.Categorical, pl.Object, pl.Decimal(10, 2)])
def test_a_type_without_canonical_bytes_is_refused(dtype: pl.DataType) -> None:
    with pytest.raises(TypeError, match="no canonical bytes are defined"):
        rows_digest(pl.DataFrame({"k": pl.Series([None], dtype=dtype)}), [])


def test_a_code_digest_follows_functions_modules_files_and_texts(tmp_path: Path) -> None:
    source = tmp_path / "code.py"
    source.write_text("x = 1")
    parts: list[Any] = [rows, a_module, source, "model-1"]
    digest = code_digest(parts)
    assert digest == code_digest(parts)
    assert len(digest) == 12
    assert code_digest([frame, *parts[1:]]) != digest
    assert code_digest([rows, another_module, *parts[2:]]) != digest
    assert code_digest([*parts[:3], "model-2"]) != digest
    source.write_text("x = 2")
    assert code_digest(parts) != digest


def test_where_one_part_of_code_ends_counts() -> None:
    assert code_digest(["ab", "c"]) != code_digest(["a", "bc"])


def test_condensed_lists_are_equal_exactly_where_the_lists_are() -> None:
    lists = [[1.0, 2.0], [1.0], None, [], [2.0, 1.0], [1.0, 2.0], [0.0], [-0.0], [float("nan")], [1.0]]
    column = pl.Series("v", lists, dtype=pl.List(pl.Float32))
    found = condense(pl.DataFrame({"n": range(len(lists)), "v": column}), ["v"])
    digests = found["v"].to_list()
    assert digests[2] is None
    assert all(len(digest) == 32 for digest in digests if digest)
    assert digests[0] == digests[5] and digests[1] == digests[9] and digests[6] == digests[7]
    assert len(set(digests)) == len(lists) - 3
    assert found["n"].to_list() == list(range(len(lists)))


def test_condensing_does_not_depend_on_slices_and_takes_no_rows_and_nulls_alone() -> None:
    column = pl.Series("v", [[1, 2], [3], None, [4, 5, 6]], dtype=pl.List(pl.Int64))
    whole = condense(pl.DataFrame({"v": column}), ["v"])
    assert condense(pl.DataFrame({"v": column}).slice(1, 3), ["v"]).equals(whole.slice(1, 3))
    assert condense(pl.DataFrame({"v": column}).clear(), ["v"])["v"].to_list() == []
    assert condense(pl.DataFrame({"v": column}).slice(2, 1), ["v"])["v"].to_list() == [None]


def test_what_explains_or_places_code_is_no_code(tmp_path: Path) -> None:
    plain, told = tmp_path / "plain.py", tmp_path / "told.py"
    plain.write_text("LIMIT = 3\n\ndef f(x: int) -> int:\n    return x + LIMIT\n")
    told.write_text(
        '"""About."""\nfrom a import b  # why\n\nLIMIT = 3\n"""What it is."""\n\n\n'
        'def f(\n    x: int,\n) -> int:\n    """Adds."""\n    import c\n\n    return (x + LIMIT)  # so\n'
    )
    assert code_digest([told]) == code_digest([plain])


@pytest.mark.parametrize(
    "other",
    [
        "LIMIT = 4",
        "LIMIT = '3'",
        "LIMIT = 3.0",
        "limit = 3",
        "LIMIT: int = 3",
        "LIMIT = -3",
        "LIMIT = 3\nLIMIT = 3",
        "f'{LIMIT}'",
    ],
)
def test_what_computes_is_code(tmp_path: Path, other: str) -> None:
    one, two = tmp_path / "one.py", tmp_path / "two.py"
    one.write_text("LIMIT = 3")
    two.write_text(other)
    assert code_digest([one]) != code_digest([two])


def test_a_file_in_another_language_counts_as_its_text(tmp_path: Path) -> None:
    one, two = tmp_path / "one.sql", tmp_path / "two.sql"
    one.write_text("select 1")
    two.write_text("select 1 -- so")
    assert code_digest([one]) != code_digest([two])


@pytest.mark.parametrize("value", [[[1], [2]], [date(2026, 1, 1)]], ids=["lists", "days"])
def test_lists_of_what_has_no_bytes_are_not_condensed(value: list[Any]) -> None:
    with pytest.raises(pl.exceptions.PolarsError):
        condense(pl.DataFrame({"v": [value]}), ["v"])
