"""Expensive results by content: computed once, kept chunk by chunk, whatever is killed when."""

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import psycopg2
import pytest
from polars.testing import assert_frame_equal

from resources.database.contract import Database
from resources.database.sqlite import Sqlite
from resources.errors import CorruptObject
from resources.objects.results import KEY, Results
from resources.objects.store import ObjectStore, content_key

KIND = "classes of model 1"


@pytest.fixture(params=["folder", "s3"])
def results(request: pytest.FixtureRequest, database: Database, object_store: Callable[[str], ObjectStore]) -> Results:
    return Results(database, object_store(request.param))


def rows(*keys: str, value: float = 0.5) -> pl.DataFrame:
    return pl.DataFrame(
        {KEY: keys, "embedding": [[value, 1.0]] * len(keys), "label": [f"label of {key}" for key in keys]},
        schema={KEY: pl.String, "embedding": pl.List(pl.Float32), "label": pl.String},
    )


def found(results: Results, *keys: str, kind: str = KIND) -> pl.DataFrame:
    return pl.concat(results.parts(kind, keys)).sort(KEY)


def test_rows_come_back_by_key_with_their_types(results: Results) -> None:
    results.put(KIND, rows("a", "b", "c"))
    results.put(KIND, rows("d", "e"))
    assert_frame_equal(found(results, "e", "b", "a"), rows("a", "b", "e"))


def test_what_is_not_known_is_missing_in_order_and_once(results: Results) -> None:
    results.put(KIND, rows("b"))
    assert results.missing(KIND, ["c", "b", "a", "c"]) == ["c", "a"]
    assert list(results.parts(KIND, ["c"])) == []
    assert list(results.parts(KIND, [])) == []
    assert_frame_equal(found(results, "a", "b"), rows("b"))


def test_no_more_than_a_chunk_is_read_at_a_time(results: Results) -> None:
    for key in "abc":
        results.put(KIND, rows(key))
    assert sorted(part[KEY].to_list() for part in results.parts(KIND, ["a", "b", "c"])) == [["a"], ["b"], ["c"]]


def test_kinds_do_not_meet(results: Results) -> None:
    results.put(KIND, rows("a"))
    results.put("classes of model 2", rows("a", value=2.0))
    assert_frame_equal(found(results, "a"), rows("a"))
    assert_frame_equal(found(results, "a", kind="classes of model 2"), rows("a", value=2.0))
    assert results.missing("another", ["a"]) == ["a"]


def test_the_first_result_of_a_key_stays(results: Results) -> None:
    results.put(KIND, rows("a"))
    results.put(KIND, rows("a", "b", value=9.0))
    assert_frame_equal(found(results, "a", "b"), pl.concat([rows("a"), rows("b", value=9.0)]))


def test_nothing_to_keep_writes_nothing(results: Results) -> None:
    results.put(KIND, rows())
    assert list(results.store.list()) == []


def test_of_writers_that_race_for_one_key_one_row_stays(results: Results) -> None:
    barrier = threading.Barrier(4)

    def write(value: float) -> None:
        barrier.wait()
        results.put(KIND, rows("a", "b", value=value))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, [1.0, 2.0, 3.0, 4.0]))
    kept = found(results, "a", "b")
    assert kept[KEY].to_list() == ["a", "b"]
    assert kept["embedding"].list.first().is_in([1.0, 2.0, 3.0, 4.0]).all()


def test_a_damaged_chunk_is_noticed(results: Results) -> None:
    results.put(KIND, rows("a"))
    (chunk,) = [info.key for info in results.store.list()]
    results.store.put(chunk, b"damaged")
    with pytest.raises(CorruptObject):
        list(results.parts(KIND, ["a"]))


def test_all_chunks_that_a_restored_store_lacks_are_computed_again_at_the_next_try(results: Results) -> None:
    """A step has three tries, and as many chunks may be gone as there are."""
    keys = list("abcdefg")
    for key in keys:
        results.put(KIND, rows(key))
    chunks = [info.key for info in results.store.list()]
    (kept,) = results.index(KIND, ["d"])["chunk"]
    for chunk in chunks:
        if chunk != content_key(kept):
            results.store.delete(chunk)
    with pytest.raises(CorruptObject):
        list(results.parts(KIND, keys))
    assert results.missing(KIND, keys) == list("abcefg")
    assert_frame_equal(found(results, *keys), rows("d"))


WRITER = """
import sys
from pathlib import Path
import polars as pl
from resources.objects.store import ObjectStore, content_key
from resources.database.postgres import Postgres
from resources.objects.results import Results
from resources.database.sqlite import Sqlite
kind, url, folder, rows = sys.argv[1:]
Results({"Postgres": Postgres, "Sqlite": Sqlite}[kind](url=url), ObjectStore.open(folder)).put("classes of model 1", pl.read_ipc(rows))
"""


def lock_of_results(database: Database) -> Any:
    """A connection that lets others read the index, and not write it, until it is closed."""
    if isinstance(database, Sqlite):
        writer = sqlite3.connect(database.path, isolation_level=None)
        writer.execute("begin immediate")
        return writer
    lock = psycopg2.connect(database.url)
    lock.cursor().execute("lock table results in exclusive mode")
    return lock


@pytest.mark.slow
def test_a_kill_between_chunk_and_index_costs_that_chunk_and_nothing_else(database: Database, tmp_path: Path) -> None:
    """The index is locked, so that a real writer gets as far as its chunk; then it is killed."""
    folder = (tmp_path / "objects").as_uri()
    results = Results(database, ObjectStore.open(folder))
    results.put(KIND, rows("a"))
    rows("b", "c").write_ipc(tmp_path / "rows.arrow")
    lock = lock_of_results(database)
    try:
        command = [sys.executable, "-c", WRITER, type(database).__name__, database.url, folder, str(tmp_path / "rows.arrow")]
        process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])})
        while len(list(results.store.list())) < 2:
            assert process.poll() is None, "the writer ended before it could be killed"
            time.sleep(0.02)
        process.kill()
        process.wait()
    finally:
        lock.close()
    assert results.missing(KIND, ["a", "b", "c"]) == ["b", "c"]
    assert_frame_equal(found(results, "a", "b", "c"), rows("a"))
    results.put(KIND, rows("b", "c"))
    assert_frame_equal(found(results, "a", "b", "c"), rows("a", "b", "c"))
    assert len(list(results.store.list())) == 2
