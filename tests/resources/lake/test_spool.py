"""Frames too large to hold: they come back as they went in, again and again, and leave nothing on the disk."""

import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal

from resources.lake.spool import Parts, Spool

SCHEMA = pl.Schema({"day": pl.Date, "key": pl.String, "embedding": pl.List(pl.Float32)})


def part(*keys: str | None) -> pl.DataFrame:
    rows = [(date(2026, 1, 1), key, None if key is None else [float(len(key)), 1.0]) for key in keys]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def test_parts_come_back_in_order_with_their_types_as_often_as_they_are_asked_for() -> None:
    spool = Spool(SCHEMA)
    for one in (part("a", None), part(), part("ccc")):
        spool.add(one)
    parts = spool.parts()
    for _ in range(2):
        assert_frame_equal(pl.concat(parts), part("a", None, "ccc"))


def test_a_filter_holds_in_every_part() -> None:
    spool = Spool(SCHEMA)
    spool.add(part("a", "bb"))
    spool.add(part("bb", "c"))
    assert_frame_equal(pl.concat(spool.parts().filter(pl.col("key") == "bb")), part("bb", "bb"))
    assert_frame_equal(pl.concat(Parts.of(part("a", "b")).filter(pl.col("key") == "b")), part("b"))


def test_nothing_spooled_is_no_rows_of_the_schema() -> None:
    parts = Spool(SCHEMA).parts()
    assert list(parts) == []
    assert parts.schema == SCHEMA


def test_a_part_of_another_schema_is_refused() -> None:
    with pytest.raises((pa.ArrowInvalid, ValueError)):
        Spool(SCHEMA).add(part("a").drop("embedding"))


def test_a_full_disk_is_told_with_what_to_do(tmp_path: Path) -> None:
    """Files of this process may have a megabyte."""
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "import resource, signal, polars as pl; from resources.lake.spool import Spool\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
            "Spool(pl.Schema({'x': pl.Int64})).add(pl.DataFrame({'x': range(1_000_000)}))",
        ],
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 1
    assert "NoSpace" in told.stderr and f"{tmp_path} is full" in told.stderr and "TMPDIR" in told.stderr


def test_a_killed_process_leaves_no_file_behind(tmp_path: Path) -> None:
    killed = subprocess.run(
        [
            sys.executable,
            "-c",
            "import os, polars as pl; from resources.lake.spool import Spool\n"
            "s = Spool(pl.Schema({'x': pl.Int64})); s.add(pl.DataFrame({'x': [1] * 100_000})); os.kill(os.getpid(), 9)",
        ],
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[3])},
        check=False,
    )
    assert killed.returncode == -9
    assert list(tmp_path.iterdir()) == []
