"""Rows of a table in other tools: the same rows, with their types."""

import pickle
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import duckdb
import polars as pl
import polars.selectors as cs
import pytest
import torch
from polars.testing import assert_frame_equal
from tools import ROOT, tools_folder
from torch.utils.data import DataLoader

from pipeline_assets.errors import BadSelection
from pipeline_assets.exploration import frames, torch_rows
from resources.errors import TableMissing
from resources.lake.lake import Lake
from resources.servers.tool_venv import python_of

DAYS = [date(2026, 1, 1) + timedelta(days=number) for number in range(4)]
AT = datetime(2026, 1, 1, 12, tzinfo=UTC)


def table() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "day": [day for day in DAYS for _ in range(5)],
            "photo_id": range(20),
            "title": ["it's", None, "a", "b", "☃"] * 4,
            "likes": pl.Series([1, None, 3, 4, 5] * 4, dtype=pl.Int32),
            "brightness": pl.Series([0.1, 0.2, None, float("nan"), 0.5] * 4, dtype=pl.Float32),
            "posted_at": [AT] * 20,
            "is_new": [True, False] * 10,
            "embedding": pl.Series([[float(number), 1.0] for number in range(20)], dtype=pl.List(pl.Float32)),
        }
    )


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    folder = tmp_path_factory.mktemp("lake")
    found = Lake(url=folder.as_uri())
    found.replace("photos", DAYS, table())
    return found


def rows(lake: Lake, **choice: object) -> frames.Rows:
    return frames.rows("photos", lake=lake, **choice)


def sorted_rows(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.sort("photo_id")


CHOICES = [
    {},
    {"days": ("2026-01-02", DAYS[2])},
    {"where": "likes > 2 and title in ('it''s', 'a')"},
    {"where": "day >= date('2026-01-03') and brightness is not null", "columns": ["photo_id", "embedding", "day"]},
    {"days": (DAYS[3], DAYS[3]), "where": "likes > 100"},
    {"days": ("2030-01-01", "2030-01-02")},
]


def expected(choice: dict) -> pl.DataFrame:
    first, last = choice.get("days", (DAYS[0], DAYS[3]))
    first, last = (date.fromisoformat(day) if isinstance(day, str) else day for day in (first, last))
    found = table().filter(pl.col("day").is_between(first, last))
    if "where" in choice:
        found = found.filter(pl.sql_expr(choice["where"]))
    return found.select(choice.get("columns", found.columns))


@pytest.mark.parametrize("choice", CHOICES)
def test_each_tool_has_the_same_rows(lake: Lake, choice: dict) -> None:
    wanted, some = expected(choice), rows(lake, **choice)
    assert_frame_equal(sorted_rows(some.polars().collect()), wanted)
    assert_frame_equal(sorted_rows(pl.from_arrow(some.arrow())), wanted)
    # DuckDB calls the zone of its session Etc/UTC.
    of_duckdb = some.duckdb(duckdb.connect()).pl().with_columns(cs.datetime().dt.convert_time_zone("UTC"))
    assert_frame_equal(sorted_rows(of_duckdb), wanted)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_pandas_and_dask_have_the_same_rows_with_their_types(lake: Lake, tmp_path) -> None:
    """In a process of its own: neither is installed beside Darkroom, since pyarrow would load pandas at each start."""
    python = python_of("frames", tools_folder(), 10**9, print)
    [packages] = python.parents[1].glob("lib/python*/site-packages")
    script = Path(__file__).with_name("frames_of_pandas.py")
    wanted = [(choice, expected(choice).write_ipc(None).getvalue()) for choice in CHOICES]
    task = tmp_path / "task.pickle"
    task.write_bytes(pickle.dumps((lake.url, wanted)))
    done = subprocess.run([sys.executable, script, packages, task], cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert (done.returncode, done.stdout.split()) == (0, ["same"] * len(CHOICES)), done.stderr


def test_duckdb_reads_a_relation_of_a_relation(lake: Lake) -> None:
    photos = rows(lake).duckdb(duckdb.connect())
    assert photos.aggregate("is_new, count(*) as n").order("is_new").fetchall() == [(False, 10), (True, 10)]


def test_torch_has_batches_of_a_day_with_tensors_of_numbers(lake: Lake) -> None:
    some = rows(lake, columns=["day", "photo_id", "title", "brightness", "is_new", "embedding", "posted_at"])
    batches = list(some.torch(batch_rows=3))
    assert [len(batch["photo_id"]) for batch in batches] == [3, 2] * 4
    assert set(batches[0]) == {"photo_id", "brightness", "is_new", "embedding"}
    assert batches[0]["embedding"].shape == (3, 2)
    assert batches[0]["is_new"].dtype == torch.bool
    assert torch.isnan(batches[0]["brightness"]).tolist() == [False, False, True]
    every = torch.cat([batch["photo_id"] for batch in batches])
    assert sorted(every.tolist()) == list(range(20))


def test_workers_of_torch_share_the_days(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    data = rows(lake, columns=["photo_id"]).torch()
    parts = []
    for worker in range(3):
        monkeypatch.setattr(torch_rows, "get_worker_info", lambda worker=worker: SimpleNamespace(id=worker, num_workers=3))
        parts += DataLoader(pickle.loads(pickle.dumps(data)), batch_size=None)  # noqa: S301
    assert sorted(torch.cat([batch["photo_id"] for batch in parts]).tolist()) == list(range(20))


@pytest.mark.slow
def test_workers_of_torch_share_the_days_and_a_forked_one_is_refused(lake: Lake) -> None:
    data = rows(lake, columns=["photo_id"]).torch(batch_rows=7)
    parts = list(DataLoader(data, batch_size=None, num_workers=2, multiprocessing_context="forkserver"))
    assert sorted(torch.cat([batch["photo_id"] for batch in parts]).tolist()) == list(range(20))
    with pytest.raises(BadSelection, match="forkserver"):
        list(DataLoader(data, batch_size=None, num_workers=1, multiprocessing_context="fork"))


def test_torch_refuses_what_no_tensor_holds(lake: Lake) -> None:
    with pytest.raises(BadSelection, match="likes has nulls"):
        list(rows(lake).torch())
    assert len(list(rows(lake, where="likes is not null").torch())) == 4


def test_parquet_has_a_file_a_day(lake: Lake, tmp_path) -> None:
    paths = rows(lake, where="photo_id < 12").parquet(tmp_path / "out")
    assert [path.name for path in paths] == [f"{day}.parquet" for day in DAYS]
    assert_frame_equal(sorted_rows(pl.read_parquet(tmp_path / "out" / "*.parquet")), table().head(12))


def test_rows_stay_those_of_their_version(lake: Lake, tmp_path) -> None:
    own = Lake(url=tmp_path.as_uri())
    own.replace("photos", DAYS, table())
    before = frames.rows("photos", lake=own)
    own.replace("photos", DAYS, table().head(5))
    assert before.polars().collect().height == before.duckdb(duckdb.connect()).pl().height == 20
    assert frames.rows("photos", lake=own).polars().collect().height == 5
    assert frames.rows("photos", lake=own, version=before.version) == before


def test_a_wrong_choice_says_so_at_once(lake: Lake) -> None:
    for wrong in ({"where": "nothing > 3"}, {"where": "likes"}, {"columns": ["nothing"]}):
        with pytest.raises(BadSelection):
            rows(lake, **wrong)
    with pytest.raises(TableMissing):
        frames.rows("nothing", lake=lake)


def test_secrets_are_pickled_and_not_shown() -> None:
    some = frames.Rows("s3://lake/tables/a", 0, (), None, None, {"aws_secret_access_key": "secret"})
    assert "secret" not in repr(some)
    assert pickle.loads(pickle.dumps(some)) == some  # noqa: S301
